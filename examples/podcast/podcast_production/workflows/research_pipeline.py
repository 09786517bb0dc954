"""The research stage alone.

    python workflows/research_pipeline.py --topic "AI safety misconceptions" --episode-id r001

Its episode can be finished later with `main.py --stage script` and `--stage audio`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio import program  # noqa: E402 - the path above comes first


def main() -> int:
    """Reads the command line and runs the research."""
    options = program.parser("Research a podcast episode.", budget=2.0)
    arguments = options.parse_args()
    if not arguments.topic:
        options.error("--topic is required")
    order = program.Order(
        episode_id=arguments.episode_id,
        topic=arguments.topic,
        names=["research"],
        budget=arguments.budget,
    )
    return program.produce(order, arguments.output_dir, arguments.output_format)


if __name__ == "__main__":
    sys.exit(main())
