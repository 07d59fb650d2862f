"""``python -m captum_spectral``, the same program as ``captum-spectral``."""

from captum_spectral.cli import main

if __name__ == "__main__":
    main(prog_name="captum-spectral")
