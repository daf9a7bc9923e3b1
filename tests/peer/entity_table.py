#!/usr/bin/python3
"""Prints src/data/tokenizer_entity_table.c: HTML's named character references, from Python's copy.

    tests/peer/entity_table.py | diff - src/data/tokenizer_entity_table.c
"""
from html.entities import html5

HEAD = '''\
/* HTML's named character references: the table of the standard (WHATWG HTML, 13.5), as
 * tests/peer/entity_table.py prints it.
 *
 * Names in byte order, a space behind each entry: NAME=HEX or NAME=HEX+HEX where "&NAME;" stands
 * for one or two code points; NAME*HEX where the semicolon may be missing. */
#include "tokenizer_parts.h"

const char tokenizer_entities[] =
'''


def main():
    names = sorted({name.rstrip(';') for name in html5})
    lines, line = [], ''
    for name in names:
        value = '+'.join(f'{ord(c):x}' for c in html5[name + ';'])
        entry = name + ('*' if name in html5 else '=') + value + ' '
        if len(line) + len(entry) > 93:
            lines.append(line)
            line = ''
        line += entry
    lines.append(line)
    print(HEAD + '\n'.join(f'    "{text}"' for text in lines) + ';')
    print('const size_t tokenizer_entities_bytes = sizeof tokenizer_entities - 1;')


if __name__ == '__main__':
    main()
