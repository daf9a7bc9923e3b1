#!/usr/bin/python3
"""CLIP's tokenizer written again, on Python's own html, unicodedata and the regex module.

    tokenizer_peer.py compare PROGRAM MERGES [--texts N] [--seed S]   program's ids against these
    tokenizer_peer.py vectors PROGRAM MERGES    CLIP's own vocabulary: known ids and label sums
    tokenizer_peer.py golden FOLDER             writes merges.txt and cases.json for the tests

The repair step is that of spec 10.3 without the undoing of wrongly decoded UTF-8. `compare` takes
only characters that Python's Unicode version knows. Needs Debian's python3-regex.
"""
import argparse
import collections
import csv
import gzip
import html
import html.entities
import json
import os
import random
import subprocess
import sys
import unicodedata

import regex

START, END = '<|startoftext|>', '<|endoftext|>'
PIECES = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]"
                       r"|[^\s\p{L}\p{N}]+", regex.IGNORECASE)

# ---- cleaning ---------------------------------------------------------------------------------

LIGATURES = {0x132: 'IJ', 0x133: 'ij', 0x149: "\u02bcn", 0xfb00: 'ff', 0xfb01: 'fi', 0xfb02: 'fl',
             0xfb03: 'ffi', 0xfb04: 'ffl', 0xfb05: '\u017ft', 0xfb06: 'st'}
for code in [*range(0x1c4, 0x1cd), *range(0x1f1, 0x1f4)]:
    LIGATURES[code] = unicodedata.normalize('NFC', unicodedata.normalize('NFKD', chr(code)))
WIDTH = {code: unicodedata.normalize('NFKC', chr(code)) for code in range(0xff01, 0xfff0)}
WIDTH[0x3000] = ' '
C1 = {}
for code in range(0x80, 0xa0):
    try:
        C1[code] = bytes([code]).decode('cp1252')
    except UnicodeDecodeError:
        C1[code] = chr(code)
QUOTES = {**{c: "'" for c in (0x2bc, *range(0x2018, 0x201c))}, **{c: '"' for c in range(0x201c, 0x2020)}}
REMOVED = dict.fromkeys([*range(9), 0xb, *range(0xe, 0x20), 0x7f, *range(0x206a, 0x2070), 0xfeff,
                         *range(0xfff9, 0xfffd)])

SEMICOLON_NAMES = {}
for name, value in html.entities.html5.items():
    if name.endswith(';'):
        SEMICOLON_NAMES['&' + name] = value
        capitals = '&' + name.upper()
        if name == name.lower() and html.unescape(capitals) == capitals:
            SEMICOLON_NAMES[capitals] = value.upper()


def strict_reference(match):
    text = match.group()
    if text in SEMICOLON_NAMES:
        return SEMICOLON_NAMES[text]
    if text.startswith('&#'):
        value = html.unescape(text)
        return text if ';' in value else value
    return text


def repair_line(text, entities):
    while True:
        before = text
        if entities:
            text = regex.sub('&#?[0-9A-Za-z]{1,24};', strict_reference, text)
        for table in (C1, LIGATURES, WIDTH, QUOTES):
            text = text.translate(table)
        for line_end in ('\r\n', '\r', '\u2028', '\u2029', '\x85'):
            text = text.replace(line_end, '\n')
        text = regex.sub('\x1b\\[[\\d;]*[a-zA-Z]', '', text)
        text = unicodedata.normalize('NFC', text.translate(REMOVED))
        if text == before:
            return text


def repair(text):
    entities, out = True, ''
    for line in regex.findall(r'[^\n]*\n|[^\n]+', text):
        entities = entities and '<' not in line
        out += repair_line(line, entities)
    return out


def clean(text):
    text = html.unescape(html.unescape(repair(text))).strip()
    return regex.sub(r'\s+', ' ', text).strip().lower()


# ---- byte pairs -------------------------------------------------------------------------------

PRINTABLE = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
OTHERS = [b for b in range(256) if b not in PRINTABLE]
BYTE_TEXT = {**{b: chr(b) for b in PRINTABLE}, **{b: chr(256 + i) for i, b in enumerate(OTHERS)}}


class Tokenizer:
    def __init__(self, merges):
        alphabet = [BYTE_TEXT[b] for b in PRINTABLE + OTHERS]
        tokens = alphabet + [a + '</w>' for a in alphabet] + [a + b for a, b in merges]
        self.id = {token: i for i, token in enumerate(tokens + [START, END])}
        self.rank = {pair: i for i, pair in enumerate(merges)}
        self.words = {START: [self.id[START]], END: [self.id[END]]}

    def word(self, piece):
        if piece not in self.words:
            symbols = [BYTE_TEXT[b] for b in piece.encode()]
            symbols[-1] += '</w>'
            while len(symbols) > 1:
                pairs = set(zip(symbols, symbols[1:]))
                best = min(pairs, key=lambda p: self.rank.get(p, float('inf')))
                if best not in self.rank:
                    break
                joined, i = [], 0
                while i < len(symbols):
                    hit = tuple(symbols[i:i + 2]) == best
                    joined.append(''.join(symbols[i:i + 1 + hit]))
                    i += 1 + hit
                symbols = joined
            self.words[piece] = [self.id[s] for s in symbols]
        return self.words[piece]

    def encode(self, text):
        ids = [i for piece in PIECES.findall(clean(text)) for i in self.word(piece)]
        return [self.id[START], *ids, self.id[END]]


def read_merges(path):
    data = open(path, 'rb').read()
    lines = (gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data).decode().split('\n')
    if '#version' in lines[0]:
        lines = lines[1:]
    return [tuple(line.split(' ')) for line in lines[:48894] if line]


# ---- texts ------------------------------------------------------------------------------------

ASSIGNED = [c for c in range(1, 0x110000)
            if c != 10 and unicodedata.category(chr(c)) not in ('Cn', 'Cs')]
NAMES = sorted(html.entities.html5)
WORDS = ("it's I'Ll DON'T we're you've she'd i'm rock'n'roll foo_bar-baz !!'s caf\u00e9 CAFE\u0301 "
         "\u039f\u0394\u039f\u03a3 \u03a3\u0391\u03a3. \u0130stanbul stra\u00dfe \u65e5\u672c\u8a9e \u0939\u093f\u0928 2024 \u00bd x\u00b2 \u2167 "
         "&amp;amp;lt; AT&ampT &notit; &EACUTE; &SZLIG; &LTIMES; &#59; &#x3b &#150; &#0; &#xD800; "
         "&#1114112; &#65 &#x41;b &am&#112;; &lt;b&gt; <b> < \x1b[31;1m \x1b[\u0663m \x1b[ \ufb01ne \uff21\uff22 "
         "\u201cquoted\u201d it\u2019s it'\u017f \ufeff \u3000 \x85 \u2028 \x1f \t \r \u1680 \u180e <|endoftext|> "
         "<|StartOfText|> \U0001f3a5\U0001f3c0 \u0345 \u1e9b\u0323 \u212b \uac00 \u1100\u1161 e\u0301\u0323").split(' ')


def random_text(r):
    parts = []
    for _ in range(r.randrange(1, 8)):
        kind = r.randrange(7)
        if kind == 0:
            parts.append(''.join(chr(r.choice(ASSIGNED)) for _ in range(r.randrange(1, 5))))
        elif kind == 1:
            parts.append(''.join(chr(r.choice(ASSIGNED[:0x500])) for _ in range(r.randrange(1, 6))))
        elif kind == 2:
            name = r.choice(NAMES).rstrip(';')
            name = r.choice([name, name, name.upper(), name[:-1], name + r.choice('aB1')])
            parts.append(r.choice(['&', '&amp;', '&amp']) + name + r.choice([';', ';', '', ' ', 'x;']))
        elif kind == 3:
            number = r.choice([r.randrange(256), r.randrange(0x2100), r.randrange(0x120000)])
            # A reference to a character that Python does not know is no test of ours.
            known = number > 0x10ffff or unicodedata.category(chr(number)) != 'Cn'
            number = number if known else 0x41
            parts.append(r.choice(['&#%d', '&#x%x', '&#X%X']) % number + r.choice([';', ';', '', 'g;']))
        else:
            parts.append(r.choice(WORDS))
        parts.append(r.choice(['', ' ', ' ', '  ', "'", '-']))
    return ''.join(parts).replace('\n', ' ')


def contexts():
    """Every character alone and beside a capital sigma, which asks for its case properties."""
    for c in ASSIGNED:
        if 0x3400 < c < 0xa000 or 0xac00 < c < 0xd7a0 or c >= 0x20000:
            if c % 97:
                continue
        yield f'a{chr(c)}b'
        yield f'A{chr(c)}\u03a3 1{chr(c)}\u03a3 A\u03a3{chr(c)} A\u03a3{chr(c)}A'


# ---- the three commands -----------------------------------------------------------------------

def run_program(program, merges, texts):
    done = subprocess.run([program, 'tokenize', '--bpe', merges, '--context', '4096'], check=True,
                          input='\n'.join(texts).encode() + b'\n', stdout=subprocess.PIPE)
    lines = done.stdout.decode().split('\n')[:-1]
    assert len(lines) == len(texts), f'{len(texts)} texts, {len(lines)} lines of ids'
    return [[int(i) for i in line.split()] for line in lines]


def compare(program, merges, texts):
    tokenizer = Tokenizer(read_merges(merges))
    wrong = 0
    for text, got in zip(texts, run_program(program, merges, texts)):
        expected = tokenizer.encode(text)
        if got != expected:
            wrong += 1
            if wrong <= 10:
                print(f'{text!r}\n  clean    {clean(text)!r}\n  program  {got}\n  here     {expected}')
    print(f'{len(texts)} texts, {wrong} differ')
    return wrong == 0


VECTORS = [
    ('', []), ('a photo of a cat', [320, 1125, 539, 320, 2368]), ('abseiling', [596, 567, 3299]),
    ("massaging person's head", [4636, 4336, 2533, 568, 1375]),
    ('ApplyEyeMakeup', [882, 75, 693, 693, 5853]), ('brush hair', [8594, 2225]),
    ('  Hello,\tWorld!!  2024 ', [3306, 267, 1002, 748, 273, 271, 273, 275]),
    ("!!'s", [1443, 262, 338]), ('caf\u00e9', [15304]), ('cafe\u0301', [15304]),
    ('\u201cquoted\u201d it\u2019s', [257, 27706, 257, 585, 568]),
    ('AT&amp;T &lt;b&gt;', [536, 261, 339, 283, 321, 285]), ('&amp;amp;lt;', [283]),
    ('x<y &amp; z', [343, 283, 344, 261, 345]),
    ('AT&ampT &notit;', [536, 261, 339, 126, 361, 585, 282]),
    ('\u65e5\u672c\u8a9e 12', [39121, 44353, 34002, 508, 272, 273]),
    ('\U0001f3a5\U0001f3c0', [22186, 8813]), ('\uff21\uff22\uff23\uff11\uff12', [5334, 272, 273]),
    ('\ufb01ne', [3797]), ('\u00bd x\u00b2 \u2167', [33613, 343, 41175, 158, 227, 371]),
    ("I'Ll DON'T we'Re", [328, 1342, 847, 713, 649, 982]), (END, [49407]),
    ('\x01a\x1fb', [3937]),
]
SUMS = {'kinetics400': 9446430, 'kinetics600': 14770689, 'hmdb51': 504206, 'ucf101': 2689193}


def vectors(program, merges):
    right = True
    for (text, expected), got in zip(VECTORS, run_program(program, merges, [t for t, _ in VECTORS])):
        if got != [49406, *expected, 49407]:
            print(f'{text!r}: {got}, expected {expected}')
            right = False
    folder = os.path.join(os.path.dirname(__file__), '../../configs/labels')
    for name, expected in SUMS.items():
        with open(os.path.join(folder, name + '.csv'), newline='') as file:
            labels = [row['name'] for row in csv.DictReader(file)]
        got = sum(sum(ids[1:-1]) for ids in run_program(program, merges, labels))
        print(f'{name}: {len(labels)} labels, sum of ids {got}, expected {expected}')
        right = right and got == expected
    print('all as expected' if right else 'DIFFERENT')
    return right


def learn(texts, n):
    words = collections.Counter(p for t in texts for p in PIECES.findall(clean(t)))
    spelt = {w: [BYTE_TEXT[b] for b in w.encode()] for w in words}
    for symbols in spelt.values():
        symbols[-1] += '</w>'
    merges = []
    for _ in range(n):
        count = collections.Counter()
        for w, symbols in spelt.items():
            for pair in zip(symbols, symbols[1:]):
                count[pair] += words[w]
        merges.append(max(sorted(count), key=count.get))
        for w, symbols in spelt.items():
            joined, i = [], 0
            while i < len(symbols):
                hit = tuple(symbols[i:i + 2]) == merges[-1]
                joined.append(''.join(symbols[i:i + 1 + hit]))
                i += 1 + hit
            spelt[w] = joined
    return merges


def golden(folder):
    r = random.Random(20)
    corpus = [random_text(r) for _ in range(300)] + ['the quick brown fox jumps over the lazy dog',
              'riding a bike', 'playing the violin', "massaging person's head"] * 20
    merges = learn(corpus, 250)
    tokenizer = Tokenizer(merges)
    texts = [t for t, _ in VECTORS] + [random_text(r) for _ in range(500)]
    texts += ['a\r\nb &amp;amp; <i>\n&amp;amp;lt; &eacute;', 'one\n&amp;amp;amp;lt;\ntwo']
    cases = [[text, tokenizer.encode(text)] for text in texts]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'merges.txt'), 'w') as file:
        file.write('#version: 0.2\n' + ''.join(f'{a} {b}\n' for a, b in merges))
    with open(os.path.join(folder, 'cases.json'), 'w') as file:
        file.write('[\n' + ',\n'.join(json.dumps(case) for case in cases) + '\n]\n')
    return True


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('command', choices=['compare', 'vectors', 'golden'])
    parser.add_argument('arguments', nargs='+')
    parser.add_argument('--texts', type=int, default=50000)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    if options.command == 'golden':
        return golden(options.arguments[0])
    program, merges = options.arguments
    if options.command == 'vectors':
        return vectors(program, merges)
    r = random.Random(options.seed)
    right = compare(program, merges, [random_text(r) for _ in range(options.texts)])
    return compare(program, merges, list(contexts())) and right


if __name__ == '__main__':
    sys.exit(0 if main() else 1)
