"""Neither batches, order nor memory change which images an attack fools; other people's attacks."""

import gc
import warnings

import pytest
import torch
from attacked import digits
from classifiers import Constant, decided, images
from engine_faults import Faulty, cuda_allocation_failure, real_allocation_failure
from helpers import tiny_cnn

from captum_spectral import _captum
from captum_spectral.robustness.attacks import robust_accuracy
from captum_spectral.robustness.distances import boundary_distances
from captum_spectral.robustness.masking import gradient_masking, random_noise_accuracy
