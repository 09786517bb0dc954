"""Runs the real program as a subprocess and looks at its stdout, exit code and files.

    python -m unittest discover -s examples/podcast/tests

Needs the packages of `requirements.txt`. Knows nothing of Segue: the program stands alone.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import wave
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent / "podcast_production"
RESULT_KEYS = {
    "status",
    "episode_id",
    "topic",
    "total_cost",
    "overall_quality",
    "output_files",
    "duration",
    "research_synthesis",
    "sources",
    "stages",
    "error",
}
TOPIC = "Why do we dream?"


class ProgramTest(unittest.TestCase):
    """Each test has a folder of its own for its episodes."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.episodes = Path(folder.name)

    def start(self, *arguments: str, program: str = "main.py", **environment: str):
        """Starts the program; its stdout and stderr are pipes."""
        command = [sys.executable, program, *arguments, "--output-dir", str(self.episodes)]
        return subprocess.Popen(
            command,
            cwd=PROGRAM,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run_program(self, *arguments: str, program: str = "main.py"):
        """Runs it to its end: exit code, stdout, stderr."""
        with self.start(*arguments, program=program) as process:
            stdout, stderr = process.communicate(timeout=60)
        return process.returncode, stdout, stderr

    def run_json(self, *arguments: str, program: str = "main.py"):
        """Runs it with JSON output: exit code, the events, the result, stderr."""
        code, stdout, stderr = self.run_program(
            *arguments, "--output-format", "json", program=program
        )
        *events, result = [json.loads(line) for line in stdout.splitlines()]
        self.check_result(result)
        return code, events, result, stderr

    def check_result(self, result: dict) -> None:
        """The result has exactly its keys, and names files that exist."""
        self.assertEqual(result.pop("type"), "result")
        self.assertEqual(set(result), RESULT_KEYS)
        for path in result["output_files"]:
            self.assertFalse(os.path.isabs(path), path)
            self.assertTrue((PROGRAM / path).is_file(), path)

    def episode(self, *arguments: str):
        """Produces episode `ep001`."""
        return self.run_json("--topic", TOPIC, "--episode-id", "ep001", *arguments)

    def test_a_whole_episode(self) -> None:
        code, events, result, stderr = self.episode(
            "--budget", "5.51", "--quality-threshold", "8.0", "--mode", "production"
        )
        self.assertEqual((code, result["status"], result["error"]), (0, "success", None), stderr)
        self.assertEqual((result["episode_id"], result["topic"]), ("ep001", TOPIC))
        names = sorted(path.name for path in (self.episodes / "ep001").iterdir())
        self.assertEqual(names, ["episode.wav", "metadata.json", "research.json", "script.md"])
        self.assertEqual(len(result["output_files"]), 4)
        self.assertEqual(list(result["stages"]), ["research", "script", "audio"])
        cost = sum(stage["cost"] for stage in result["stages"].values())
        self.assertAlmostEqual(result["total_cost"], cost, places=4)
        self.assertLess(0, result["total_cost"])
        self.assertLessEqual(8.0, result["overall_quality"])
        self.assertEqual(len(result["sources"]), 12)
        self.assertEqual(events[0]["type"], "start")
        kinds = {event["type"] for event in events}
        self.assertEqual(kinds, {"start", "progress", "usage"})
        priced = sum(event["cost_usd"] for event in events if event["type"] == "usage")
        self.assertAlmostEqual(priced, result["total_cost"], places=4)

    def test_the_sound_can_be_played(self) -> None:
        self.episode()
        path = self.episodes / "ep001" / "episode.wav"
        self.assertLess(path.stat().st_size, 200_000)
        with wave.open(str(path)) as sound:
            self.assertEqual((sound.getnchannels(), sound.getsampwidth()), (1, 2))
            frames = sound.readframes(sound.getnframes())
        self.assertEqual(path.stat().st_size, len(frames) + 44)
        self.assertTrue(any(frames))

    def test_the_same_topic_gives_the_same_episode(self) -> None:
        first = self.episode()[2]
        content = (self.episodes / "ep001" / "script.md").read_bytes()
        second = self.episode()[2]
        self.assertEqual(content, (self.episodes / "ep001" / "script.md").read_bytes())
        self.assertEqual({**first, "duration": 0}, {**second, "duration": 0})

    def test_a_budget_too_small_keeps_what_was_paid_for(self) -> None:
        code, _, result, stderr = self.episode("--budget", "1.1")
        self.assertEqual((code, result["status"]), (1, "error"))
        self.assertIn("budget exceeded", stderr)
        self.assertIn("budget exceeded", result["error"])
        self.assertEqual(list(result["stages"]), ["research"])
        self.assertLessEqual(result["total_cost"], 1.1)
        self.assertEqual(len(result["output_files"]), 2)

    def test_exactly_at_the_budget_is_allowed(self) -> None:
        cost = self.episode()[2]["total_cost"]
        self.assertEqual(self.episode("--budget", str(cost))[0], 0)
        self.assertEqual(self.episode("--budget", f"{cost - 0.0001:.4f}")[0], 1)

    def test_no_budget_at_all_leaves_no_folder(self) -> None:
        code, _, result, _ = self.episode("--budget", "0")
        self.assertEqual((code, result["total_cost"], result["output_files"]), (1, 0, []))
        self.assertEqual(list(self.episodes.iterdir()), [])

    def test_quality_below_the_threshold_is_an_error(self) -> None:
        code, _, result, stderr = self.episode("--quality-threshold", "10")
        self.assertEqual((code, result["status"]), (1, "error"))
        self.assertRegex(result["error"], r"^quality 9\.\d+ is below the threshold 10$")
        self.assertIn(result["error"], stderr)
        self.assertEqual(len(result["output_files"]), 4)

    def test_quality_equal_to_the_threshold_passes(self) -> None:
        quality = self.episode()[2]["overall_quality"]
        self.assertEqual(self.episode("--quality-threshold", str(quality))[0], 0)

    def test_wrong_usage_is_exit_2_and_writes_nothing(self) -> None:
        cases = [
            ("--topic", TOPIC, "--episode-id", "../up"),
            ("--topic", TOPIC, "--episode-id", "a/b"),
            ("--topic", TOPIC, "--episode-id", ".."),
            ("--topic", TOPIC, "--episode-id", ""),
            ("--topic", TOPIC, "--episode-id", "a" * 65),
            ("--topic", TOPIC),
            ("--episode-id", "ep001"),
            ("--topic", "", "--episode-id", "ep001"),
            ("--topic", "two\nlines", "--episode-id", "ep001"),
            ("--topic", TOPIC, "--episode-id", "ep001", "--budget", "-1"),
            ("--topic", TOPIC, "--episode-id", "ep001", "--budget", "nan"),
            ("--topic", TOPIC, "--episode-id", "ep001", "--quality-threshold", "11"),
            ("--topic", TOPIC, "--episode-id", "ep001", "--mode", "draft"),
        ]
        for arguments in cases:
            with self.subTest(arguments=arguments):
                code, stdout, stderr = self.run_program(*arguments)
                self.assertEqual((code, stdout), (2, ""))
                self.assertIn("error:", stderr)
        self.assertEqual(list(self.episodes.iterdir()), [])

    def test_the_research_pipeline_and_single_stages_make_the_same_episode(self) -> None:
        whole = self.episode()[2]
        wanted = self.files("ep001")
        code, _, research, _ = self.run_json(
            "--topic", TOPIC, "--episode-id", "ep002", "--budget", "2.0",
            program="workflows/research_pipeline.py",
        )  # fmt: skip
        self.assertEqual((code, research["status"]), (0, "success"))
        self.assertEqual(research["research_synthesis"], whole["research_synthesis"])
        self.assertEqual(list(research["stages"]), ["research"])
        for stage, budget, threshold in (("script", "2.5", "8.5"), ("audio", "1.5", "8.0")):
            code, _, result, stderr = self.run_json(
                "--stage", stage, "--episode-id", "ep002",
                "--budget", budget, "--quality-threshold", threshold,
            )  # fmt: skip
            self.assertEqual(code, 0, stderr)
            self.assertEqual((list(result["stages"]), result["topic"]), ([stage], TOPIC))
            self.assertEqual(result["stages"][stage], whole["stages"][stage])
        self.assertEqual(self.files("ep002"), wanted)
        metadata = json.loads((self.episodes / "ep002" / "metadata.json").read_text())
        self.assertEqual(metadata["stages"], whole["stages"])

    def files(self, episode_id: str) -> dict:
        """The contents of an episode's three products."""
        folder = self.episodes / episode_id
        return {n: (folder / n).read_bytes() for n in ("research.json", "script.md", "episode.wav")}

    def test_a_new_script_makes_the_old_sound_void(self) -> None:
        self.episode()
        code, *_ = self.run_json("--stage", "script", "--episode-id", "ep001")
        self.assertEqual(code, 0)
        self.assertFalse((self.episodes / "ep001" / "episode.wav").exists())

    def test_a_stage_without_its_input_says_what_is_missing(self) -> None:
        for stage, earlier in (("script", "research"), ("audio", "research")):
            code, _, result, stderr = self.run_json("--stage", stage, "--episode-id", "none")
            self.assertEqual((code, result["status"]), (1, "error"))
            self.assertIn(f"run the {earlier} stage first", stderr)
            self.assertEqual(result["error"], stderr.strip())

    def test_a_damaged_input_is_named(self) -> None:
        self.episode()
        path = self.episodes / "ep001" / "research.json"
        for content in (b"", b"{", b"[]", b"\xff", b'{"topic": 3}'):
            path.write_bytes(content)
            code, _, result, _ = self.run_json("--stage", "script", "--episode-id", "ep001")
            self.assertEqual(code, 1)
            self.assertIn("research.json", result["error"])

    def test_an_episode_keeps_its_topic(self) -> None:
        self.episode()
        code, _, result, _ = self.run_json(
            "--stage", "audio", "--episode-id", "ep001", "--topic", "Something else"
        )
        self.assertEqual(code, 1)
        self.assertIn("is about 'Why do we dream?'", result["error"])

    def test_a_person_gets_text(self) -> None:
        code, stdout, stderr = self.run_program("--topic", TOPIC, "--episode-id", "ep001")
        self.assertEqual((code, stderr), (0, ""))
        self.assertIn("✅ **Execution Status**: success\n", stdout)
        self.assertRegex(stdout, r"💰 \*\*Total Cost\*\*: \$\d\.\d\d\n")
        self.assertNotIn("Error", stdout)

    def test_signals_stop_it_between_two_steps(self) -> None:
        for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(number=number), self.start(
                "--topic", TOPIC, "--episode-id", f"stop{expected}", "--output-format", "json",
                PODCAST_STAGE_SECONDS="600",
            ) as process:  # fmt: skip
                first = json.loads(process.stdout.readline())
                self.assertEqual(first["type"], "start")
                process.send_signal(number)
                stdout, stderr = process.communicate(timeout=20)
                self.assertEqual(process.returncode, expected, stderr)
                result = json.loads(stdout.splitlines()[-1])
                self.check_result(result)
                self.assertEqual((result["status"], result["error"]), ("error", "interrupted"))
                self.assertNotIn("Traceback", stderr)

    def test_an_interrupted_episode_keeps_its_finished_stages(self) -> None:
        with self.start(
            "--topic", TOPIC, "--episode-id", "ep001", "--output-format", "json",
            PODCAST_STAGE_SECONDS="1",
        ) as process:  # fmt: skip
            for line in process.stdout:
                if json.loads(line).get("stage") == "script":
                    break
            process.send_signal(signal.SIGINT)
            stdout, _ = process.communicate(timeout=20)
        result = json.loads(stdout.splitlines()[-1])
        self.assertEqual(process.returncode, 130)
        self.assertEqual(list(result["stages"]), ["research"])
        self.assertTrue((self.episodes / "ep001" / "research.json").exists())

    def test_a_reader_that_goes_away_does_not_stop_the_work(self) -> None:
        with self.start(
            "--topic", TOPIC, "--episode-id", "ep001", "--output-format", "json",
            PODCAST_STAGE_SECONDS="0.5",
        ) as process:  # fmt: skip
            process.stdout.readline()
            process.stdout.close()
            stderr = process.stderr.read()
            self.assertEqual((process.wait(timeout=20), stderr), (0, ""))
        self.assertTrue((self.episodes / "ep001" / "episode.wav").exists())


if __name__ == "__main__":
    unittest.main()
