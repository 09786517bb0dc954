"""Produces a podcast episode: research → script → audio, or one stage of an existing episode.

    python main.py --topic "Why do we dream?" --episode-id ep001

Runs alone, from its own folder; no orchestrator is needed. See `--help`.
"""

import sys

from studio import program
from studio.stages import ORDER


def main() -> int:
    """Reads the command line and produces the episode."""
    options = program.parser("Produce a podcast episode.", budget=5.51)
    program.quality(options)
    options.add_argument("--mode", choices=("production",), default="production")
    options.add_argument(
        "--stage",
        choices=("script", "audio"),
        help="run this stage only, on an episode that has the earlier ones",
    )
    arguments = options.parse_args()
    if not arguments.stage and not arguments.topic:
        options.error("--topic is required unless --stage is given")
    order = program.Order(
        episode_id=arguments.episode_id,
        topic=arguments.topic,
        names=[arguments.stage] if arguments.stage else list(ORDER),
        budget=arguments.budget,
        threshold=arguments.quality_threshold,
        single=bool(arguments.stage),
    )
    return program.produce(order, arguments.output_dir, arguments.output_format)


if __name__ == "__main__":
    sys.exit(main())
