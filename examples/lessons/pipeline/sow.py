"""Writes the scheme of work: which lessons there are, in which order, and which are written."""

import argparse
import json

from common import course_folder, read, say, say_usage, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--course-id", required=True)
    parser.add_argument("--lessons", type=int, default=2, help="lessons for each topic")
    arguments = parser.parse_args()
    folder = course_folder(arguments.out, arguments.course_id)

    course = read(folder / "course.json")
    entries = []
    for topic in course["topics"]:
        for part in range(1, arguments.lessons + 1):
            order = len(entries) + 1
            written = (folder / "lessons" / f"{order:02}.md").is_file()
            title = f"{topic}, part {part}"
            entries.append({"order": order, "title": title, "written": written})
            say("progress", stage="sow", done=order)
    text = json.dumps({"entries": entries}, indent=2) + "\n"
    write(folder / "sow.json", text)
    say_usage(json.dumps(course), text)
    say("result", status="success", entries=entries)


main()
