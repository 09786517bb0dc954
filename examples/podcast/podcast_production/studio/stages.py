"""What research and script compute: pure functions of the topic, without model and network.

A stage returns a `Product`: the thing made, token-like counts, their price and a quality from
0 to 10. Sources are invented (`example.org`); the same topic always gives the same episode.
Owns prices and quality rules. Knows no files, no graph and no command line.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

ORDER = ("research", "script", "audio")

# US dollars per million tokens, and per thousand spoken characters.
PRICE_INPUT = 15.0
PRICE_OUTPUT = 75.0
PRICE_SPEECH = 0.25

# Told how many of how many steps are done; may raise to stop the stage.
Tick = Callable[[int, int], None]

STOP_WORDS = frozenset(
    "a about an and are as at be by can could did do does for from had has have how i if in into "
    "is it its of on or our should so that the their them there these they this to us was we were "
    "what when where which who why will with would you your".split()
)

SOURCE_KINDS = ("review", "experiment", "survey", "textbook", "interview", "archive")

# A perspective: its name, its finding, and the script's sentences. `{k}` is a word of the topic.
PERSPECTIVES = (
    (
        "History",
        "People asked about {k} long before they could measure it.",
        "Let us start at the start. People asked about {k} long before there was a way to test "
        "it. The first notes we have are short and odd, but they ask the right thing {a}. Each "
        "age then gave its own answer, and most of them sound like the tools of that age {b}.",
    ),
    (
        "Mechanism",
        "Small parts that are easy to see add up to {k}, which is not.",
        "So how does it work? Take {k} apart and you find small pieces that are easy to see {a}. "
        "The hard part is how they add up. When one piece changes, the rest shift too, a bit like "
        "a tent when you move one pole {b}. That is the picture most teams now use.",
    ),
    (
        "Evidence",
        "Two independent lines of evidence about {k} agree.",
        "What do we know for sure? Two lines of work on {k} agree, and they were done far apart "
        "{a}. One team counted. The other team changed one thing and watched {b}. When two such "
        "roads lead to the same place, you can lean on the place.",
    ),
    (
        "Misconceptions",
        "The best known story about {k} leaves out its most important part.",
        "Now to the story you have heard. The best known tale about {k} is neat, and it leaves "
        "out the part that counts {a}. It stays alive since it is short. A short tale with a hole "
        "in it travels fast, and the fix is a longer one that few people tell {b}.",
    ),
    (
        "Everyday life",
        "What is known about {k} changes small decisions of a normal day.",
        "What does this change for you? More than you may think. What we know of {k} helps with "
        "small choices on a plain day {a}. Try it once this week: look for it, write down what "
        "you see, and look again a day later {b}. You will see more the next time.",
    ),
    (
        "Open questions",
        "It is open where {k} ends and where its neighbours begin.",
        "And what is still open? Where does {k} end, and where does the next thing start {a}? "
        "Some say there is a sharp line. Some say there is just a slope {b}. Both sides know what "
        "would change their minds, and that is a good sign for the next ten years.",
    ),
)

OPENING = (
    "Hello and welcome. Here is the question of today: {topic} It sounds like a small one, and it "
    "is not. We will look at where the question comes from, what we know, what we get wrong, and "
    "what you can do with it. No need to take notes. Sit back, and let us think out loud."
)
CLOSING = (
    "That is all for today. If you keep one thing, keep this: ask who counted, and ask who changed "
    "one thing and watched. With that in hand you can ask it again, and better: {topic} Thank you "
    "for your time, be kind to each other, and join us for the next one."
)


@dataclass(frozen=True)
class Product:
    """What a stage made; `quality` is 0 to 10, `cost` in US dollars."""

    document: dict
    input_tokens: int
    output_tokens: int
    cost: float
    quality: float


def research(topic: str, tick: Tick) -> Product:
    """Finds keywords, one finding per perspective, and two sources of different kinds for each."""
    keywords = keywords_of(topic)
    sources: list[dict] = []
    perspectives = []
    for index, (name, finding, _) in enumerate(PERSPECTIVES):
        keyword = keywords[index % len(keywords)]
        pair = [source(topic, name, keyword, len(sources) + n + 1) for n in range(2)]
        sources += pair
        text = finding.format(k=f"\"{keyword}\"")
        ids = [one["id"] for one in pair]
        perspectives.append({"name": name, "keyword": keyword, "finding": text, "sources": ids})
        tick(index + 1, len(PERSPECTIVES))
    synthesis = {
        "question": topic,
        "keywords": keywords,
        "perspectives": perspectives,
        "summary": " ".join(one["finding"] for one in perspectives),
    }
    variety = len({one["kind"] for one in sources}) / len(SOURCE_KINDS)
    recency = sum((one["year"] - 2010) / 15 for one in sources) / len(sources)
    covered = sum(len(one["sources"]) >= 2 for one in perspectives) / len(PERSPECTIVES)
    read = sum(one["tokens"] for one in sources)
    return priced(
        {"synthesis": synthesis, "sources": sources},
        read,
        tokens(json.dumps(synthesis, ensure_ascii=False)),
        10 * (0.4 * covered + 0.3 * variety + 0.3 * recency),
    )


def script(topic: str, synthesis: dict, tick: Tick) -> Product:
    """Composes opening, one segment per perspective and closing; counts words and readability."""
    texts = {name: text for name, _, text in PERSPECTIVES}
    chosen = [one for one in synthesis["perspectives"] if one["name"] in texts]
    total = len(chosen) + 2
    question = topic if topic[-1] in ".?!" else f"{topic}."
    segments = [{"title": "Opening", "text": OPENING.format(topic=question)}]
    tick(1, total)
    for one in chosen:
        first, second = one["sources"][0], one["sources"][-1]
        keyword = f'"{one["keyword"]}"'
        text = texts[one["name"]].format(k=keyword, a=f"[{first}]", b=f"[{second}]")
        segments.append({"title": one["name"], "text": text})
        tick(len(segments), total)
    segments.append({"title": "Closing", "text": CLOSING.format(topic=question)})
    tick(total, total)
    for segment in segments:
        segment["words"] = len(spoken(segment["text"]).split())
    everything = " ".join(segment["text"] for segment in segments)
    words = sum(segment["words"] for segment in segments)
    ease = reading_ease(spoken(everything))
    wanted = {source_id for one in chosen for source_id in one["sources"]}
    cited = wanted & set(re.findall(r"\[(s\d+)\]", everything))
    document = {"segments": segments, "words": words, "reading_ease": round(ease, 1)}
    quality = 10 * (
        0.4 * (len(cited) / len(wanted) if wanted else 0.0)
        + 0.3 * fit(words, 350, 650, 350)
        + 0.3 * fit(ease, 60, 105, 60)
    )
    # Three drafts of every segment, each with the whole synthesis before its eyes.
    drafts = 3 * len(segments)
    reads = drafts * tokens(json.dumps(synthesis, ensure_ascii=False))
    return priced(document, reads, 3 * tokens(everything), quality)


def keywords_of(topic: str) -> list[str]:
    """The words of `topic` that carry it, at least one, at most five, each cut to 24 letters."""
    words = [word for word in re.findall(r"[^\W_]+", topic.lower()) if word not in STOP_WORDS]
    unique = list(dict.fromkeys(word[:24] for word in words))
    return unique[:5] or ["this"]


def source(topic: str, perspective: str, keyword: str, number: int) -> dict:
    """An invented source; neighbours differ in kind."""
    seed = digest(topic, perspective, str(number))
    kind = SOURCE_KINDS[(digest(topic)[0] + number) % len(SOURCE_KINDS)]
    return {
        "id": f"s{number}",
        "title": f"{keyword.capitalize()}: {perspective.lower()}, a {kind}",
        "kind": kind,
        "year": 2019 + seed[0] % 7,
        "url": f"https://example.org/{kind}/{seed.hex()[:12]}",
        "supports": perspective,
        "tokens": 4000 + int.from_bytes(seed[1:3], "big") % 2000,
    }


def spoken(text: str) -> str:
    """`text` without its citations."""
    return re.sub(r"\s*\[s\d+\]", "", text)


def reading_ease(text: str) -> float:
    """Flesch reading ease: 60 is plain English, 100 easy talk. Syllables are groups of vowels."""
    words = re.findall(r"[^\W\d_]+", text.lower()) or ["x"]
    sentences = max(1, len(re.findall(r"[.?!:]+(?:\s|$)", text)))
    syllables = sum(max(1, len(re.findall(r"[aeiouy]+", word.rstrip("e")))) for word in words)
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)


def fit(value: float, low: float, high: float, width: float) -> float:
    """1 between `low` and `high`, falling to 0 at `width` outside."""
    outside = max(low - value, value - high, 0.0)
    return max(0.0, 1.0 - outside / width)


def tokens(text: str) -> int:
    """The usual estimate: four characters a token."""
    return math.ceil(len(text) / 4)


def digest(*parts: str) -> bytes:
    """32 bytes that depend on `parts` alone."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def priced(document: dict, input_tokens: int, output_tokens: int, quality: float) -> Product:
    """A product at the price of its tokens."""
    cost = (input_tokens * PRICE_INPUT + output_tokens * PRICE_OUTPUT) / 1e6
    return Product(document, input_tokens, output_tokens, round(cost, 4), round(quality, 2))
