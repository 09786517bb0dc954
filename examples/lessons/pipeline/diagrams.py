"""Has a diagram drawn for every lesson, by the diagram service."""

import argparse
import json
import urllib.request

from common import course_folder, say, say_usage, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--course-id", required=True)
    parser.add_argument("--service", required=True)
    arguments = parser.parse_args()
    folder = course_folder(arguments.out, arguments.course_id)

    drawn = 0
    for lesson in sorted((folder / "lessons").glob("*.md")):
        title = lesson.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        body = json.dumps({"title": title}).encode()
        request = urllib.request.Request(f"{arguments.service}/draw", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            svg = answer.read().decode()
        write(folder / "diagrams" / f"{lesson.stem}.svg", svg)
        say_usage(title, svg)
        drawn += 1
        say("progress", stage="diagrams", done=drawn)
    say("result", status="success", drawn=drawn)


main()
