"""The automatic chunk against every fixed one.

The automatic size has met the model in one earlier call, as in any session with more than one
image; how long that first call takes is in overhead.py. All sizes run twice; then the two best
fixed ones and the automatic one run in turns, and the last columns are about these times. The
automatic size is there as it is, and without the shortcuts of the engine, which a fixed size does
not take either: that ratio is about the choice of the size alone.
"""

from __future__ import annotations

import statistics

from common import BATCHES, NETWORKS, arguments, in_turns, photographs, ratio, report, start

from captum_spectral import SpectralShapley


def main() -> None:
    """Five networks."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--bands", type=int, default=6)
    parser.add_argument("--first-bands", type=int, default=8, help="of the earlier call")
    args = start(parser)
    image = photographs(1)
    table = []
    for name in args.networks:
        explainer = SpectralShapley(NETWORKS[name]())

        def attribute(chunk, explainer=explainer):
            return explainer.attribute(
                image,
                0,
                num_bands=args.bands,
                perturbations_per_eval=None if chunk == "auto" else chunk,
                shortcuts=chunk is None,
            )

        for shortcuts in (True, False):
            explainer.attribute(image, 0, num_bands=args.first_bands, shortcuts=shortcuts)
        tasks = {chunk: lambda c=chunk, a=attribute: a(c) for chunk in (None, "auto", *BATCHES)}
        medians = {c: statistics.median(t) for c, t in in_turns(tasks, 2).items()}
        # The fastest of many noisy times is too fast by luck: the best two run again.
        best_two = sorted(BATCHES, key=medians.__getitem__)[:2]
        times = in_turns({c: tasks[c] for c in (None, "auto", *best_two)}, args.rounds)
        again = {c: statistics.median(t) for c, t in times.items()}
        best = min(best_two, key=again.__getitem__)
        table.append(
            {
                "network": name,
                **{f"{chunk}, s": round(medians[chunk], 2) for chunk in BATCHES},
                "best": best,
                "again, s": round(again[best], 2),
                "auto, s": round(again["auto"], 2),
                "auto / best": round(ratio(times["auto"], times[best]), 3),
                "with shortcuts / best": round(ratio(times[None], times[best]), 3),
            }
        )
        print(table[-1], flush=True)
    title = f"Automatic chunk, one image, {2**args.bands} rows, medians"
    report(args, title, table)


if __name__ == "__main__":
    main()
