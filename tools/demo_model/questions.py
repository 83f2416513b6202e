"""Questions about a clip and their true answers, each kind in several wordings.

`ask(truth, rng, kinds)` draws (kind, question, answer) or None. An answer is a short phrase, compared exactly after
`normalise`. No question asks about something that is not there, and a plain question never about what changes.
"""
import re

from world import STILL, WORDS

MODALITY = {"v_shape": "visual", "v_colour": "visual", "v_digit": "visual", "v_word": "visual", "v_move": "visual",
            "v_back": "visual", "a_word": "audible", "a_beeps": "audible", "a_tone": "audible", "a_exist": "audible",
            "x_both": "cross", "x_at": "cross", "t_first": "visual", "t_last": "visual", "t_change": "visual",
            "t_order": "audible"}
KINDS = list(MODALITY)
NOT_LEARNT = ["t_first", "t_last", "t_change"]                    # tried, stayed at chance: nowhere asked
NOT_SHIPPED = [*NOT_LEARNT, "t_order"]                           # t_order is measured, but too weak at 20 % for the clips
NAMES = {"word": "word", "beeps": "beeps", "tone": "tone"}

PLAIN = {
    "v_shape": ["What shape is on the screen?", "Which shape do you see?", "What shape is shown?", "Name the shape.",
                "What is the shape?", "Which shape is in the picture?", "What kind of shape is it?"],
    "v_colour": ["What colour is the shape?", "Which colour does the shape have?", "What is the colour of the shape?",
                 "What color is the shape?", "What colour is the {shape}?", "What color is the {shape}?",
                 "Which colour does the {shape} have?"],
    "v_digit": ["Which digit is on the screen?", "What digit do you see?", "What number is shown?", "Which number do you see?",
                "What is the digit?", "Name the digit."],
    "v_word": ["What word is written on the screen?", "Which word is written?", "What does the text say?", "Read the word.",
               "What word is on the screen?", "Which word is shown?"],
    "v_move": ["Which way does the shape move?", "In which direction does the {shape} move?", "Where does the shape move?",
               "How does the shape move?", "Which way is the {shape} moving?", "Does the shape move, and which way?"],
    "v_back": ["What colour is the background?", "What color is the background?", "Which colour does the background have?",
               "What is the colour of the background?"],
    "a_word": ["What word is spoken?", "Which word do you hear?", "What was said?", "What does the voice say?",
               "Which word was spoken?", "What word did you hear?"],
    "a_beeps": ["How many beeps do you hear?", "How many beeps are there?", "Count the beeps.", "How many times does it beep?",
                "How many beeps were there?"],
    "a_tone": ["Is the tone high or low?", "What pitch does the tone have?", "Was the tone low or high?",
               "Do you hear a high or a low tone?", "What kind of tone is it?"],
}
EXIST = {"word": ["Is a word spoken?", "Does someone speak?", "Do you hear a voice?"],
         "beeps": ["Do you hear beeps?", "Are there any beeps?", "Does it beep?"],
         "tone": ["Is there a tone?", "Do you hear a tone?", "Does a tone sound?"]}
SEE = {"shape": ["what shape is shown", "which shape do you see"],
       "colour": ["what colour is the shape", "which colour does the shape have"],
       "digit": ["which digit is on the screen", "what number is shown"], "word": ["what word is written", "which word is on the screen"]}
HEAR = {"word": ["what word is spoken", "which word do you hear"], "beeps": ["how many beeps do you hear", "how many beeps are there"],
        "tone": ["is the tone high or low", "what pitch does the tone have"]}
WHEN = {"word": ["when the word is spoken", "while the voice speaks", "when {value} is said"],
        "beeps": ["when the beeps sound", "while it beeps", "during the beeps"],
        "tone": ["when the tone sounds", "while the tone sounds", "during the tone"]}
START = ["at the start", "at the beginning", "first", "before the change"]
END = ["at the end", "now", "last", "after the change"]
CHANGE = ["What changed?", "What changes in the clip?", "What is different at the end?", "Did anything change, and what?"]
ORDER = ["Which came first, {a} or {b}?", "What do you hear first, {a} or {b}?"]
THE = {"word": "the voice", "beeps": "the beeps", "tone": "the tone"}


def normalise(text):
    """Lower case, single spaces, no full stop or surrounding space: what 'equal' means for answers."""
    return re.sub(r"\s+", " ", text.strip().lower()).rstrip(".")


def heard(kind, value):
    return WORDS[value] if kind == "word" else str(value)


def pick(rng, options):
    return options[rng.integers(len(options))]


def upper(s):
    return s[0].upper() + s[1:]


def fixed(truth):
    return [k for k in truth["state"] if k != truth["what"]]


def draw_plain(kind, t, rng):
    attr = kind[2:]
    if kind[0] == "v":
        if attr == "move":
            answer = STILL if t["move"] == "still" else t["move"]
        elif attr == "back":
            answer = t["back"]
        elif attr in fixed(t):
            answer = t["state"][attr][0]
        else:
            return None
    elif attr in t["events"]:
        answer = heard(attr, t["events"][attr][1])
    else:
        return None
    q = pick(rng, PLAIN[kind])
    if "{shape}" in q:
        if t["what"] == "shape":
            return None
        q = q.format(shape=t["state"]["shape"][0])
    return q, answer


def draw_exist(t, rng):
    there = rng.random() < 0.5
    kinds = [k for k in EXIST if (k in t["events"]) == there]
    return (pick(rng, EXIST[pick(rng, kinds)]), "yes" if there else "no") if kinds else None


def draw_both(t, rng):
    see, hear = fixed(t), list(t["events"])
    if not hear:
        return None
    s, h = pick(rng, see), pick(rng, hear)
    parts = [(pick(rng, SEE[s]), t["state"][s][0]), (pick(rng, HEAR[h]), heard(h, t["events"][h][1]))]
    if rng.random() < 0.3:
        parts.reverse()
    return f"{upper(parts[0][0])} and {parts[1][0]}?", f"{parts[0][1]} and {parts[1][1]}"


def draw_at(t, rng):
    if not t["events"]:
        return None
    h = pick(rng, list(t["events"]))
    seg, value = t["events"][h]
    a = t["what"] if t["what"] and rng.random() < 0.8 else pick(rng, list(t["state"]))
    when = pick(rng, WHEN[h]).format(value=heard(h, value))
    return f"{upper(pick(rng, SEE[a]))} {when}?", t["state"][a][1 if seg >= t["at"] else 0]


def draw_edge(t, rng, end):
    if t["what"] is None:
        return None
    a = t["what"]
    return f"{upper(pick(rng, SEE[a]))} {pick(rng, END if end else START)}?", t["state"][a][end]


def draw_change(t, rng):
    if t["n_seg"] < 2:
        return None
    return pick(rng, CHANGE), f"the {t['what']}" if t["what"] else "nothing"


def draw_order(t, rng):
    if len(t["events"]) < 2:
        return None
    a, b = rng.permutation(list(t["events"]))[:2]
    return (pick(rng, ORDER).format(a=THE[a], b=THE[b]), THE[a] if t["events"][a][0] < t["events"][b][0] else THE[b])


def draw(kind, t, rng):
    if kind in PLAIN:
        return draw_plain(kind, t, rng)
    if kind in ("t_first", "t_last"):
        return draw_edge(t, rng, int(kind == "t_last"))
    return {"a_exist": draw_exist, "x_both": draw_both, "x_at": draw_at, "t_change": draw_change, "t_order": draw_order}[kind](t, rng)


def ask(truth, rng, kinds=KINDS, plain_case=0.85):
    """One (kind, question, answer) of a kind drawn from `kinds`, or None when that kind does not fit the clip."""
    kind = kinds[rng.integers(len(kinds))]
    made = draw(kind, truth, rng)
    if made is None:
        return None
    q, a = made
    if rng.random() > plain_case:                     # as people type: no capital, no question mark
        q = q[0].lower() + q[1:].rstrip("?.")
    return kind, q, a


def corpus():
    """Every wording once with every value: what the tokenizer learns its words from."""
    from world import BACKS, COLOURS, DIGITS, SHAPES
    values = SHAPES + list(COLOURS) + DIGITS + WORDS + list(BACKS) + ["left", "right", "up", "down", "high", "low", "yes", "no",
              "nothing", STILL, "the voice", "the beeps", "the tone", "the colour", "the shape", "the digit", "the word"]
    lines = [q.replace("{shape}", s).replace("{value}", s).replace("{a}", THE["word"]).replace("{b}", THE["tone"])
             for group in (PLAIN, EXIST, SEE, HEAR, WHEN) for qs in group.values() for q in qs for s in SHAPES]
    lines += CHANGE + ORDER + [" " + w for w in START + END + WHEN["word"] + WHEN["beeps"] + WHEN["tone"]]
    lines += [" " + q for group in (SEE, HEAR) for qs in group.values() for q in qs]
    both = [v + " and " + v for v in values] + [" " + v + " " + v for v in values]
    return [c(x) for x in lines + both for c in (str, upper)] + ["system\nYou are a helpful assistant.", "user\n", "assistant\n"]
