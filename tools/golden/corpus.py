"""Words and sentences in many scripts: what the tiny tokenizers are trained on, and the lines of the tokenizer's fixture."""
import json
import random
import unicodedata

QUESTIONS = ["What do you hear?", "How many times does the door open, and where is the dog?", "Is the red circle left of the square?",
             "Describe the sound at the end.", "Which word is on the screen?", "Did anything move in the last minute? Answer in one word.",
             "Who speaks first, the man or the woman?", "Do you hear the alarm while the light is green?"]
ANSWERS = ["A red circle.", "The dog barks twice.", "Yes, on the left.", "Nothing moves.", "The word is STOP."]
SYSTEMS = ["You are a helpful assistant.", "You watch a camera. Answer briefly."]

SENTENCES = [
    "The camera sees a street; the microphone hears a bell, then rain on the window and somebody's slow steps.",
    "It's what they'd've said: we'll go, I'm sure, you're right, he'd know, she's here, WE'RE LATE, THEY'LL SEE, I'D'VE.",
    "Der Schlüssel liegt unter der Fußmatte, größer als üblich; «ça va?» fragte Élodie, naïve et déçue.",
    "El niño pingüino comió jalapeños mañana por la mañana en Logroño. ¿Cuándo? ¡Ahora!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń. Îți mulțumesc, băiete.",
    "Быстрая лиса прыгает через ленивую собаку; ещё раз, пожалуйста. Що робить їжак? Ђурђевак.",
    "Η γρήγορη αλεπού πηδά πάνω από το σκυλί. Τί κάνεις; Πολύ ωραία, ευχαριστώ.",
    "快速的棕色狐狸跳过懒狗。摄像机看到一条街，麦克风听到铃声。你听到了什么？",
    "素早い茶色の狐がのろまな犬を飛び越える。カメラは通りを見ています。ｶﾀｶﾅ も ひらがな も。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 무엇이 들립니까? 한국어 문장.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول. ماذا تسمع؟ مَرْحَبًا بِكُمْ ١٢٣٤٥",
    "השועל החום המהיר קופץ מעל הכלב העצלן. מה אתה שומע? שָׁלוֹם",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। आप क्या सुनते हैं? १२३४",
    "দ্রুত বাদামী শিয়াল অলস কুকুরের উপর লাফ দেয়। কী শুনছো?", "வேகமான பழுப்பு நரி சோம்பேறி நாயைத் தாண்டுகிறது. என்ன கேட்கிறது?",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ คุณได้ยินอะไร ๑๒๓", "Con cáo nâu nhanh nhẹn nhảy qua con chó lười. Bạn nghe thấy gì? Đường phố ồn ào.",
    "სწრაფი ყავისფერი მელა ახტება ზარმაც ძაღლს. რა გესმის?", "Արագ շագանակագույն աղվեսը ցատկում է ծույլ շան վրայով։", "ፈጣኑ ቡናማ ቀበሮ በሰነፍ ውሻ ላይ ዘለለ።",
    "ကျွန်တော် ဘာကြားလဲ။", "ភាសាខ្មែរ គឺ​ល្អ", "ᐃᓄᒃᑎᑐᑦ ᎣᏏᏲ ⠓⠑⠇⠇⠕ ᚠᚢᚦᚨᚱᚲ 𐌰𐌱𐌲 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛",
    "for (int i = 0; i < n; i++) { sum += a[i] * b[i]; }\t/* dot\tproduct */\n\treturn sum;\n", "def f(x):\n    return x**2  # square\n\n\nprint(f(12345))\r\n",
    "SELECT name, COUNT(*) FROM t WHERE a <> 'b' GROUP BY name;", "<div class=\"x\">a &amp; b</div><!-- c -->", "https://example.org/a/b?c=d&e=%20f#g user@host.example",
    "{\"op\":\"ask\",\"id\":7,\"question\":\"Was ist zu hören?\"}", "3.14159 2,718 1e-9 0xDEADBEEF 007 1/2 ½ ² ³ Ⅷ ④ 100% $5 €7 №9 10°C", "a_b-c+d=e*f/g\\h|i&j^k~l`m'n\"o",
]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "👍🏽", "❤️", "⌚", "🧑🏿‍🚀", "☃", "✈️", "🫠", "𓀀", "🀄", "1️⃣"]
# Sequences that NFC changes, and some that it must leave.
COMPOSE = ["e\u0301", "a\u0308o\u0308u\u0308", "A\u030a", "\u212b", "\u2126", "c\u0327\u0301", "s\u0323\u0307", "s\u0307\u0323", "\u1100\u1161\u11a8", "\u0958", "\u2adc", "\uf900", "\u0344", "o\u0302\u0301",
           "q\u0307\u0323", "\u1e9b\u0323", "\u0041\u0327\u0301\u0308", "\u3042\u3099", "\u304b\u3099", "\u0b47\u0b3e", "\u1025\u102e", "n\u0303", "\u0301alone", "ﬁ", "ｱ", "①"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_bos|>", "<|AUDIO|>", "<|im_end|", "<|IM_END|>", "<|im_end|>>", "< |im_end|>", "<tool_call>", "</tool_call>", "<tool_call", "<|fim_prefix|>",
            "<|repo_name|>", "<|box_end|>", "<tool_call></tool_call>", "x<tool_call>y", " <tool_call> ", "<tool_call>\n{\"name\": \"f\"}\n</tool_call>"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "  \n  ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u0085", "\t\t ", "     ", "\x0b\x0c", "\ufeff"]
CONTRACTIONS = ["'s", "'T", "'re", "'VE", "'m", "'ll", "'D", "’s", "'sA", "'lL", "x'ſ", "'Re9", "''s", "'k"]
EDGES = ["", " ", "\n", "a", " a", "a ", "\x00", "\x00\x01\x7f", "\ufffd", "\U0010ffff", "\ue000", "İstanbul ıI", "ǅ ǆ", "ß ẞ", "a" * 300, " " * 130, "1" * 90, "!" * 70, "ab" * 120, "\n" * 40, " \n" * 30, "éé" * 40]


def training_text(scripts):
    """Lines to train a tokenizer on: the questions' words, and with `scripts` everything else."""
    out = (QUESTIONS + ANSWERS + SYSTEMS + ["system\n", "user\n", "assistant\n", " video", " audio"]) * 3 + SENTENCES[:2]
    return out + (SENTENCES + EMOJI + COMPOSE) * 2 if scripts else out


def any_letter(rng):
    """A random character that Unicode 3.2 had and whose category has not changed: regex and normalisation libraries of any age agree on it."""
    while True:
        c = chr(rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x3000, 0xd7ff), rng.randrange(0xe000, 0xfdd0), rng.randrange(0x10000, 0x1d800)]))
        old = unicodedata.ucd_3_2_0.category(c)
        if old == unicodedata.category(c) and old != "Cn":
            return c


def test_lines(seed, size):
    """Lines of the fixture: every sentence and edge, then mixtures until `size` bytes of JSON are full."""
    rng = random.Random(seed)
    out = SENTENCES + EDGES + EMOJI + COMPOSE + SPECIALS + CONTRACTIONS + QUESTIONS
    pools = [SENTENCES, EMOJI, COMPOSE, SPECIALS, SPACES, CONTRACTIONS, QUESTIONS]
    n = sum(len(json.dumps(x, ensure_ascii=False).encode()) + 1 for x in out)
    while n < size:
        part = []
        for _ in range(rng.randint(1, 9)):
            pool = rng.choices(pools, (3, 2, 3, 2, 6, 2, 1))[0]
            x = rng.choice(pool)
            if pool is SENTENCES:
                a = rng.randrange(len(x))
                x = x[a:a + rng.randint(1, 30)]
            elif rng.random() < 0.1:
                x = any_letter(rng)
            part.append(x)
        out.append("".join(part))
        n += len(json.dumps(out[-1], ensure_ascii=False).encode()) + 1
    return out
