// Creates the course that everything else belongs to. Run by tsx: `tsx seed/seed.ts SUBJECT LEVEL OUT`.
//
// Prints the course's id among other lines, as a program does that was not written for pipelines.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Course {
  courseId: string;
  subject: string;
  level: string;
  topics: string[];
}

const topicsOf: Record<string, string[]> = {
  mathematics: ["Fractions", "Percentages", "Straight lines", "Pythagoras", "Probability"],
  physics: ["Waves", "Electricity", "Motion"],
  applications: ["Budgets", "Measuring", "Scale drawings"],
};

const otherNames: Record<string, string> = {
  math: "mathematics",
  maths: "mathematics",
  phys: "physics",
  apps: "applications",
  nat5: "n5",
  ah: "higher",
};

const [subject, level, out] = process.argv.slice(2).map((word) => otherNames[word] ?? word);
const topics = topicsOf[subject ?? ""];
if (!topics || !level || !out) {
  console.error(`usage: seed.ts SUBJECT LEVEL OUT; subjects: ${Object.keys(topicsOf).join(", ")}`);
  process.exit(2);
}

const course: Course = { courseId: `course_${subject}_${level}`, subject: subject!, level, topics };
const folder = join(out, course.courseId);
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "course.json"), JSON.stringify(course, null, 2) + "\n");

console.log(`Seeding ${topics.length} topics of ${subject} at ${level}`);
console.log(`Created course: ${course.courseId}`);
