"""Writes one lesson of the scheme of work."""

import argparse
import os

from common import course_folder, read, say, say_usage, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--course-id", required=True)
    parser.add_argument("--order", type=int, required=True)
    arguments = parser.parse_args()
    folder = course_folder(arguments.out, arguments.course_id)

    entries = read(folder / "sow.json")["entries"]
    found = [entry for entry in entries if entry["order"] == arguments.order]
    if not found:
        raise SystemExit(f"the scheme of work has no lesson {arguments.order}")
    title = found[0]["title"]
    say("start", stage="lesson", title=title)
    text = f"# {title}\n\n" + "".join(
        f"## Step {step}\n\nA worked example of {title.lower()}, number {step}.\n\n"
        for step in range(1, 4)
    )
    say_usage(title, text)
    # For those who want to see a lesson fail: a comma-separated list of orders.
    if str(arguments.order) in os.environ.get("LESSONS_FAIL", "").split(","):
        raise SystemExit(f"the critic refused lesson {arguments.order}")
    path = folder / "lessons" / f"{arguments.order:02}.md"
    write(path, text)
    say("result", status="success", file=str(path), words=len(text.split()))


main()
