"""Stream commands against the real servers, case by case. Each line of a table is one request."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.commands import GROUPS
from tests.commands.harness import Harness
from tests.oracle.conftest import Servers
from tests.oracle.drawn import drawn
from tests.oracle.facts import declared, told
from tests.oracle.facts import plain as facts_in
from tests.oracle.oracle import EXAMPLES, SEED, Judge, Unlike, words
from tests.oracle.streams import timeless
from tests.oracle.told import compare_told
from tests.oracle.wire import Tree, parse_whole

TABLES = {
    "add": """
        XADD s 1-1 a 1
        XADD s 1-1 a 1
        XADD s 1-0 a 1
        XADD s 0-5 a 1
        XADD s 0-0 a 1
        XADD s 0 a 1
        XADD new 0-0 a 1
        XADD new 0 a 1
        XADD new 0-* a 1
        XADD new 0-* a 1
        XADD s 1-* a 2 b 3
        XADD s 1-* a 2 b 3
        XADD s 2-* a 2 b 3
        XADD s 2 a 2 b 3
        XADD s 3 a 2 b 3
        XADD s 1-* a 1
        XADD s 3-5-* a 1
        XADD s -* a 1
        XADD s *-* a 1
        XADD s *-5 a 1
        XADD s 3-x a 1
        XADD s x a 1
        XADD s - a 1
        XADD s + a 1
        XADD s '' a 1
        XADD s -5 a 1
        XADD s 5--3 a 1
        XADD s "5- -3" a 1
        XADD s 18446744073709551616 a 1
        XADD s 18446744073709551615-18446744073709551616 a 1
        XADD s 007-08 a 1
        XADD s +8-+9 a 1
        XADD s " 9" a 1
        XADD s "10 " a 1
        XADD s "5"*127 a 1
        XADD s "0"*126 a 1
        XADD s "0"*130 a 1
        XADD s 11-18446744073709551615 a 1
        XADD s 11-* a 1
        XADD s 18446744073709551615-18446744073709551614 a 1
        XADD s 18446744073709551615-* a 1
        XADD s 18446744073709551615-* a 1
        XADD s * a 1
        XADD s 5 a 1
        XLEN s
        XRANGE s - +
        XINFO STREAM s
        XINFO STREAM s FULL
    """,
    "add: arguments": """
        XADD
        XADD s
        XADD s 1
        XADD s 1 a
        XADD s 1 a 1 b
        XADD s * a 1 b
        XADD s * a
        XADD s NOMKSTREAM 1 a
        XADD s NOMKSTREAM 1 a 1
        XADD s nomkstream 1 a 1
        EXISTS s
        XADD s 1 a 1
        XADD s NOMKSTREAM 2 a 1
        XADD s NOMKSTREAM NOMKSTREAM 3 a 1
        XADD s MAXLEN 4 a 1
        XADD s MAXLEN 5 5 a 1
        XADD s MAXLEN x 6 a 1
        XADD s MAXLEN -1 6 a 1
        XADD s MAXLEN ~ 6 a 1
        XADD s MAXLEN = 6 a 1
        XADD s MAXLEN ~ x 6 a 1
        XADD s MINID x 6 a 1
        XADD s MINID - 6 a 1
        XADD s MINID 1 MAXLEN 5 6 a 1
        XADD s MAXLEN 5 MAXLEN 5 6 a 1
        XADD s LIMIT 5 6 a 1
        XADD s LIMIT 0 6 a 1
        XADD s LIMIT x 6 a 1
        XADD s LIMIT -1 6 a 1
        XADD s MAXLEN 5 LIMIT 5 6 a 1
        XADD s MAXLEN = 5 LIMIT 5 6 a 1
        XADD s MAXLEN = 5 LIMIT 0 6 a 1
        XADD s MAXLEN ~ 5 LIMIT 5 7 a 1
        XADD s MAXLEN ~ 5 LIMIT 0 8 a 1
        XADD s LIMIT 5 MAXLEN ~ 5 9 a 1
        XADD s maxlen = 3 10 a 1
        XADD s MINID = 8-1 11 a 1
        XADD s MINID 9 12 a 1
        XADD s MAXLEN 0 13 a 1
        XADD s MAXLEN 0 14 a 1
        XADD s BOGUS 15 a 1
        XADD s BOGUS 15 a
        XADD s 15 '' ''
        XADD s 16 "\\x00\\xff" "\\r\\n"
        XRANGE s - +
        XINFO STREAM s
        SET t v
        XADD t 1 a 1
        XADD t 0-0 a 1
        XADD t * a 1
        XADD t NOMKSTREAM * a 1
    """,
    "range": """
        XRANGE nothing - +
        XRANGE nothing - + COUNT 0
        XREVRANGE nothing + -
        XADD s 1-1 a 1
        XADD s 1-2 a 2
        XADD s 2-1 a 3
        XADD s 2-2 b 4 c 5
        XADD s 3-0 a 6
        XRANGE s - +
        XRANGE s 1 1
        XRANGE s 1 2
        XRANGE s 1-2 2-1
        XRANGE s (1-1 +
        XRANGE s (1 +
        XRANGE s - (2-1
        XRANGE s - (2
        XRANGE s - (2-0
        XRANGE s (3 +
        XRANGE s ( +
        XRANGE s (- +
        XRANGE s (+ +
        XRANGE s - (-
        XRANGE s (18446744073709551615-18446744073709551615 +
        XRANGE s - (0-0
        XRANGE s - (0
        XRANGE s + -
        XRANGE s 2 1
        XRANGE s x +
        XRANGE s - x
        XRANGE s $ +
        XRANGE s - + COUNT 2
        XRANGE s - + COUNT 0
        XRANGE s - + COUNT -1
        XRANGE s - + COUNT -5
        XRANGE s - + COUNT 9223372036854775807
        XRANGE s - + COUNT x
        XRANGE s - + COUNT
        XRANGE s - + BOGUS 1
        XRANGE s - + COUNT 1 COUNT 3
        XRANGE s - + COUNT 1 COUNT
        XREVRANGE s + -
        XREVRANGE s + - COUNT 2
        XREVRANGE s 2 1
        XREVRANGE s (2-2 (1-1
        XREVRANGE s - +
        XREVRANGE s + - COUNT 0
        XREVRANGE s (0-0 -
        XREVRANGE s + x
        XREVRANGE s x -
        XDEL s 2-1 1-1
        XRANGE s - +
        XREVRANGE s + - COUNT 2
        XRANGE s - + COUNT 1
        XLEN s
        XLEN nothing
        SET t v
        XRANGE t - +
        XRANGE t x +
        XREVRANGE t + -
        XLEN t
        XLEN
        XRANGE s -
        XREVRANGE s
    """,
    "delete": """
        XDEL nothing 1
        XDEL nothing x
        XADD s 1 a 1
        XADD s 2 a 1
        XADD s 3 a 1
        XADD s 4 a 1
        XDEL s x
        XDEL s 1 x
        XDEL s -
        XDEL s 2
        XDEL s 2
        XINFO STREAM s
        XDEL s 1 1 9
        XINFO STREAM s
        XDEL s 4
        XINFO STREAM s
        XADD s 4 a 1
        XADD s 5 a 1
        XDEL s 3 5
        XINFO STREAM s
        XINFO STREAM s FULL
        EXISTS s
        XLEN s
        XADD s 6 b 1
        XINFO STREAM s
        XDEL s
        SET t v
        XDEL t 1
        XDEL t x
    """,
    "trim": """
        XTRIM nothing MAXLEN 0
        XTRIM nothing BOGUS 0
        XADD s 1 a 1
        XADD s 2 a 1
        XADD s 3 a 1
        XADD s 4 a 1
        XADD s 5 a 1
        XTRIM s MAXLEN 9
        XTRIM s MAXLEN 4
        XINFO STREAM s
        XTRIM s MAXLEN ~ 1
        XTRIM s MAXLEN ~ 0
        XINFO STREAM s
        XADD s 6 a 1
        XADD s 7 a 1
        XADD s 8 a 1
        XADD s 9 a 1
        XTRIM s MINID 7
        XTRIM s MINID 7
        XTRIM s MINID ~ 9
        XTRIM s MINID ~ 10
        XINFO STREAM s
        XADD s 10 a 1
        XADD s 11 a 1
        XDEL s 11
        XTRIM s MINID 11
        XINFO STREAM s
        XTRIM s MAXLEN 0
        XADD s 12 a 1
        XTRIM s MAXLEN = 0
        XINFO STREAM s
        XTRIM s MAXLEN
        XTRIM s MAXLEN x
        XTRIM s MAXLEN -1
        XTRIM s MAXLEN = x
        XTRIM s MAXLEN ~
        XTRIM s MINID
        XTRIM s MINID x
        XTRIM s MINID = +
        XTRIM s LIMIT 5
        XTRIM s LIMIT 0
        XTRIM s NOMKSTREAM MAXLEN 5
        XTRIM s MAXLEN 5 LIMIT 5
        XTRIM s MAXLEN ~ 5 LIMIT x
        XTRIM s MAXLEN ~ 5 LIMIT -1
        XTRIM s MAXLEN ~ 5 LIMIT 0
        XTRIM s MAXLEN 5 MINID 5
        XTRIM s MAXLEN 5 MAXLEN 5
        XTRIM s BOGUS 5
        XTRIM s
        SET t v
        XTRIM t MAXLEN 5
        XTRIM t MAXLEN x
    """,
    "setid": """
        XSETID nothing 1
        XSETID nothing x
        XADD s 5 a 1
        XADD s 6 a 1
        XADD s 7 a 1
        XSETID s 8
        XINFO STREAM s
        XSETID s 4
        XSETID s 7
        XSETID s x
        XSETID s -
        XSETID s $
        XSETID s 9 ENTRIESADDED 5 MAXDELETEDID 4
        XINFO STREAM s
        XSETID s 9 ENTRIESADDED 2
        XSETID s 9 ENTRIESADDED -1
        XSETID s 9 ENTRIESADDED x
        XSETID s 9 ENTRIESADDED 9 ENTRIESADDED 10
        XSETID s 9 MAXDELETEDID 10
        XSETID s 9 MAXDELETEDID x
        XSETID s 9 MAXDELETEDID 0
        XSETID s 9 MAXDELETEDID
        XSETID s 9 BOGUS
        XSETID s 9 BOGUS 1
        XDEL s 7
        XSETID s 6-5
        XSETID s 7
        XADD s 7 a 1
        XADD s 7-1 a 1
        XDEL s 5 6 7-1
        XSETID s 7-1 ENTRIESADDED 1
        XSETID s 7-2 ENTRIESADDED 1
        XINFO STREAM s
        XSETID s
        SET t v
        XSETID t 1
        XSETID t x
    """,
    "read": """
        XREAD STREAMS nothing 0
        XREAD COUNT 1 STREAMS nothing $
        XADD s 1 a 1
        XADD s 2 a 2
        XADD r 1 b 1
        XREAD STREAMS s 0
        XREAD STREAMS s 0-0
        XREAD STREAMS s 1
        XREAD STREAMS s 1-0
        XREAD STREAMS s 2
        XREAD STREAMS s $
        XREAD STREAMS s 18446744073709551615-18446744073709551615
        XREAD STREAMS s r 0 0
        XREAD STREAMS s r 2 0
        XREAD STREAMS s nothing r 0 0 1
        XREAD STREAMS s s 0 1
        XREAD COUNT 1 STREAMS s r 0 0
        XREAD COUNT 0 STREAMS s 0
        XREAD COUNT -1 STREAMS s 0
        XREAD COUNT x STREAMS s 0
        XREAD COUNT 1 COUNT 2 STREAMS s 0
        XREAD BLOCK x STREAMS s 0
        XREAD BLOCK -1 STREAMS s 0
        XREAD BLOCK 1.5 STREAMS s 0
        XREAD BLOCK 9223372036854775807 STREAMS s 0
        XREAD BLOCK 10 STREAMS s 0
        XREAD BLOCK 0 COUNT 1 STREAMS s 0
        XREAD STREAMS s r 0
        XREAD STREAMS s
        XREAD STREAMS s r
        XREAD COUNT 1 STREAMS
        XREAD COUNT 1 BOGUS s 0
        XREAD COUNT 1 COUNT 1
        XREAD GROUP g c STREAMS s 0
        XREAD NOACK STREAMS s 0
        XREAD STREAMS s >
        XREAD STREAMS s x
        XREAD STREAMS s -
        XREAD STREAMS s '*'
        XDEL s 2
        XREAD STREAMS s 1
        XREAD STREAMS s 0
        XDEL s 1
        XREAD STREAMS s 0
        SET t v
        XREAD STREAMS t 0
        XREAD STREAMS t x
        XREAD STREAMS s t 0 0
        XREAD STREAMS s t x 0
        XREAD
    """,
    "groups": """
        XGROUP CREATE s g $
        XGROUP CREATE s g x
        XGROUP CREATE s g $ MKSTREAM
        XGROUP CREATE s g $ MKSTREAM
        XGROUP CREATE s g 0
        XGROUP CREATE s h x
        XGROUP CREATE s h -
        XGROUP CREATE s h 5 ENTRIESREAD 3
        XGROUP CREATE s i 5 ENTRIESREAD -1
        XGROUP CREATE s j 5 ENTRIESREAD -2
        XGROUP CREATE s j 5 ENTRIESREAD x
        XGROUP CREATE s j 5 ENTRIESREAD
        XGROUP CREATE s j 5 BOGUS
        XGROUP CREATE s j 5 mkstream entriesread 2
        XGROUP CREATE s k 5 MKSTREAM MKSTREAM ENTRIESREAD 1
        XINFO GROUPS s
        XADD s 1 a 1
        XADD s 6 a 1
        XGROUP CREATE s l $
        XINFO GROUPS s
        XGROUP SETID s g 1
        XGROUP SETID s g $
        XGROUP SETID s g - ENTRIESREAD 0
        XGROUP SETID s g + ENTRIESREAD 1
        XGROUP SETID s g 1 ENTRIESREAD 1
        XGROUP SETID s g 1 ENTRIESREAD
        XGROUP SETID s g 1 ENTRIESREAD -2
        XGROUP SETID s g 1 MKSTREAM
        XGROUP SETID s g 1 ENTRIESREAD 1 ENTRIESREAD 1
        XGROUP SETID s no 1
        XGROUP SETID nothing g 1
        XGROUP SETID s g x
        XINFO GROUPS s
        XGROUP CREATECONSUMER s g c
        XGROUP CREATECONSUMER s g c
        XGROUP CREATECONSUMER s no c
        XGROUP CREATECONSUMER nothing g c
        XINFO CONSUMERS s g
        XGROUP DELCONSUMER s g c
        XGROUP DELCONSUMER s g c
        XGROUP DELCONSUMER s no c
        XGROUP DELCONSUMER nothing g c
        XGROUP DESTROY s h
        XGROUP DESTROY s h
        XGROUP DESTROY nothing h
        XINFO STREAM s FULL
        XINFO STREAM s
        XGROUP
        XGROUP BOGUS
        XGROUP CREATE
        XGROUP CREATE s g
        XGROUP SETID s g
        XGROUP DESTROY s
        XGROUP DESTROY s g h
        XGROUP CREATECONSUMER s g
        XGROUP DELCONSUMER s g
        SET t v
        XGROUP CREATE t g 0
        XGROUP CREATE t g x MKSTREAM
        XGROUP SETID t g 0
        XGROUP DESTROY t g
        XGROUP CREATECONSUMER t g c
        XGROUP DELCONSUMER t g c
    """,
    "read groups": """
        XADD s 1 a 1
        XADD s 2 a 2
        XADD s 3 a 3
        XADD s 4 a 4
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XREADGROUP GROUP g c STREAMS s 0
        XREADGROUP GROUP g c STREAMS s 1
        XREADGROUP GROUP g d STREAMS s 0
        XREADGROUP GROUP g d COUNT 2 STREAMS s >
        XREADGROUP GROUP g d COUNT 1 STREAMS s 0
        XPENDING s g
        XPENDING s g - + 10
        XINFO GROUPS s
        XINFO CONSUMERS s g
        XINFO STREAM s FULL
        XREADGROUP GROUP g e NOACK STREAMS s >
        XREADGROUP GROUP g e STREAMS s >
        XREADGROUP GROUP g f COUNT 5 NOACK BLOCK 1 STREAMS s 0
        XINFO CONSUMERS s g
        XDEL s 2
        XREADGROUP GROUP g d STREAMS s 0
        XPENDING s g
        XACK s g 2 3 9
        XACK s g 3
        XACK s g x
        XACK s g 1 x
        XACK s no 1
        XACK nothing g 1
        XACK nothing g x
        XPENDING s g
        XGROUP SETID s g 0
        XREADGROUP GROUP g f STREAMS s >
        XPENDING s g - + 10
        XPENDING s g - + 10 f
        XINFO STREAM s FULL
        XINFO STREAM s FULL COUNT 1
        XINFO STREAM s FULL COUNT 0
        XINFO STREAM s FULL COUNT -1
        XADD r 1 x 1
        XGROUP CREATE r g $
        XADD r 2 x 1
        XADD s 5 a 5
        XREADGROUP GROUP g c STREAMS s r > >
        XREADGROUP GROUP g c STREAMS s r > >
        XREADGROUP GROUP g c STREAMS s r 0 >
        XREADGROUP GROUP g c STREAMS s s 0 >
        XREADGROUP GROUP g c STREAMS s nothing > >
        XREADGROUP GROUP no c STREAMS s >
        XREADGROUP GROUP g c STREAMS s $
        XREADGROUP GROUP g c STREAMS s x
        XREADGROUP GROUP g c STREAMS s -
        XREADGROUP GROUP g c STREAMS s r >
        XREADGROUP GROUP g c STREAMS
        XREADGROUP GROUP g c COUNT x STREAMS s >
        XREADGROUP GROUP g c BLOCK x STREAMS s >
        XREADGROUP COUNT 1 COUNT 1 STREAMS s >
        XREADGROUP GROUP g c BOGUS STREAMS s >
        XREADGROUP NOACK NOACK NOACK STREAMS s >
        XREADGROUP GROUP g
        XREADGROUP GROUP g c COUNT 0 STREAMS s 0
        XREADGROUP GROUP g c COUNT -3 STREAMS s 0
        XREADGROUP GROUP g c STREAMS s 18446744073709551615-18446744073709551614
        XGROUP DELCONSUMER s g f
        XPENDING s g
        SET t v
        XREADGROUP GROUP g c STREAMS t >
        XREADGROUP GROUP g c STREAMS t x
        XACK t g 1
    """,
    "pending": """
        XADD s 1 a 1
        XADD s 2 a 2
        XADD s 3 a 3
        XGROUP CREATE s g 0
        XPENDING s g
        XPENDING s g - + 5
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XREADGROUP GROUP g d STREAMS s >
        XPENDING s g
        XPENDING s g - + 1
        XPENDING s g - + 0
        XPENDING s g - + -1
        XPENDING s g (1 + 10
        XPENDING s g - (2 10
        XPENDING s g 2 2 10
        XPENDING s g - + 10 d
        XPENDING s g - + 10 no
        XPENDING s g IDLE 0 - + 10
        XPENDING s g IDLE 100000 - + 10
        XPENDING s g IDLE -5 - + 10 c
        XPENDING s g idle 0 - + 10 d
        XPENDING s g IDLE x - + 10
        XPENDING s g IDLE 0 - +
        XPENDING s g IDLE 0
        XPENDING s g -
        XPENDING s g - +
        XPENDING s g - + x
        XPENDING s g x + 10
        XPENDING s g - x 10
        XPENDING s g (+ + 10
        XPENDING s g - (0-0 10
        XPENDING s g - + 10 c d
        XPENDING s g - + 10 c d e f
        XPENDING s no
        XPENDING nothing g
        XPENDING nothing g - + x
        XPENDING s no - + 10
        XPENDING s
        SET t v
        XPENDING t g
        XPENDING t g - + x
    """,
    "claim": """
        XADD s 1 a 1
        XADD s 2 a 2
        XADD s 3 a 3
        XADD s 4 a 4
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c COUNT 3 STREAMS s >
        XCLAIM s g d 0 1
        XCLAIM s g d 100000 2
        XCLAIM s g d -5 2 JUSTID
        XPENDING s g - + 10
        XCLAIM s g d 0 1 2 3 9
        XCLAIM s g e 0 4
        XCLAIM s g e 0 4 FORCE
        XCLAIM s g e 0 5 FORCE
        XPENDING s g - + 10
        XCLAIM s g e 0 1 RETRYCOUNT 7
        XCLAIM s g e 0 2 RETRYCOUNT -1
        XCLAIM s g e 0 2 RETRYCOUNT 0 JUSTID
        XCLAIM s g e 0 3 IDLE 5000 JUSTID
        XPENDING s g IDLE 4000 - + 10
        XCLAIM s g f 4000 1 2 3 4
        XCLAIM s g f 0 3 IDLE -5000
        XCLAIM s g f 0 3 TIME 1000
        XPENDING s g IDLE 100000 - + 10
        XCLAIM s g f 0 3 TIME 99999999999999
        XPENDING s g IDLE 100000 - + 10
        XCLAIM s g f 0 3 LASTID 2
        XCLAIM s g f 0 9 LASTID 3-5
        XINFO GROUPS s
        XCLAIM s g f 0 3 LASTID 9
        XINFO GROUPS s
        XDEL s 2
        XCLAIM s g f 0 2 2 3
        XPENDING s g
        XCLAIM s g f 0 3 3 JUSTID
        XCLAIM s g f 0 x
        XCLAIM s g f 0 1 x
        XCLAIM s g f 0 1 FORCE 3
        XCLAIM s g f 0 1 IDLE
        XCLAIM s g f 0 1 IDLE x
        XCLAIM s g f 0 1 TIME x
        XCLAIM s g f 0 1 RETRYCOUNT x
        XCLAIM s g f 0 1 LASTID x
        XCLAIM s g f 0 1 LASTID
        XCLAIM s g f x 1
        XCLAIM s no f 0 1
        XCLAIM s no f x 1
        XCLAIM nothing g f 0 1
        XCLAIM s g f 0 JUSTID
        XCLAIM s g f 0
        SET t v
        XCLAIM t g f 0 1
    """,
    "autoclaim": """
        XADD s 1 a 1
        XADD s 2 a 2
        XADD s 3 a 3
        XADD s 4 a 4
        XADD s 5 a 5
        XGROUP CREATE s g 0
        XAUTOCLAIM s g d 0 0
        XREADGROUP GROUP g c STREAMS s >
        XAUTOCLAIM s g d 0 - COUNT 2
        XAUTOCLAIM s g d 0 3 COUNT 2
        XAUTOCLAIM s g d 0 (3 COUNT 2 JUSTID
        XAUTOCLAIM s g d 100000 0
        XAUTOCLAIM s g d 100000 0 COUNT 1
        XAUTOCLAIM s g d -1 + JUSTID
        XPENDING s g - + 10
        XDEL s 2 4
        XAUTOCLAIM s g e 0 0 COUNT 2
        XAUTOCLAIM s g e 0 3-0 COUNT 2
        XAUTOCLAIM s g e 0 0 JUSTID
        XPENDING s g - + 10
        XDEL s 1 3 5
        XAUTOCLAIM s g d x 0
        XAUTOCLAIM s g d 0 x
        XAUTOCLAIM s g d 0 (18446744073709551615-18446744073709551615
        XAUTOCLAIM s g d 0 0 COUNT 0
        XAUTOCLAIM s g d 0 0 COUNT -1
        XAUTOCLAIM s g d 0 0 COUNT x
        XAUTOCLAIM s g d 0 0 COUNT 9223372036854775807
        XAUTOCLAIM s g d 0 0 COUNT 576460752303423488
        XAUTOCLAIM s g d 0 0 COUNT
        XAUTOCLAIM s g d 0 0 BOGUS
        XAUTOCLAIM s no d 0 0
        XAUTOCLAIM nothing g d 0 0
        XAUTOCLAIM nothing g d x 0
        XAUTOCLAIM s g d 0
        SET t v
        XAUTOCLAIM t g d 0 0
    """,
    "info": """
        XINFO STREAM nothing
        XINFO GROUPS nothing
        XINFO CONSUMERS nothing g
        XADD s 1 a 1
        XINFO STREAM s
        XINFO STREAM s FULL
        XINFO STREAM s BOGUS
        XINFO STREAM s FULL BOGUS
        XINFO STREAM s FULL COUNT
        XINFO STREAM s FULL COUNT x
        XINFO STREAM s FULL BOGUS 1
        XINFO STREAM s FULL COUNT 1 2
        XINFO STREAM nothing BOGUS
        XINFO GROUPS s
        XINFO GROUPS s g
        XINFO CONSUMERS s
        XINFO CONSUMERS s no
        XINFO CONSUMERS s "a\\x00b"
        XINFO
        XINFO BOGUS s
        XINFO STREAM
        SET t v
        XINFO STREAM t
        XINFO GROUPS t
        XINFO CONSUMERS t g
        DEL s
        XGROUP CREATE s z 0 MKSTREAM
        XGROUP CREATE s y 0
        XGROUP CREATE s '' 0
        XINFO STREAM s
        XINFO STREAM s FULL
        XINFO GROUPS s
    """,
    "copied and renamed": """
        XADD s 1 a 1
        XADD s 2 a 2
        XADD s 3 b 2 c 3
        XDEL s 2
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        COPY s t
        XADD t 4 a 1
        XREADGROUP GROUP g d STREAMS t >
        XACK t g 1
        XINFO STREAM s FULL
        XINFO STREAM t FULL
        RENAME s u
        XINFO STREAM u
        OBJECT ENCODING u
        TYPE u
        EXPIRE u 100
        XADD u 4 a 1
        XTRIM u MAXLEN 0
    """,
}


LAG = """
        XGROUP CREATE s g 0 MKSTREAM
        XINFO GROUPS s
        XADD s 1 a 1
        XADD s 2 a 1
        XADD s 3 a 1
        XADD s 4 a 1
        XADD s 5 a 1
        XINFO GROUPS s
        XGROUP CREATE s first 1
        XGROUP CREATE s middle 3
        XGROUP CREATE s last $
        XGROUP CREATE s ahead 9
        XINFO GROUPS s
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XREADGROUP GROUP middle c COUNT 1 STREAMS s >
        XINFO GROUPS s
        XREADGROUP GROUP middle c COUNT 1 STREAMS s >
        XINFO GROUPS s
        XDEL s 3
        XINFO GROUPS s
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XINFO GROUPS s
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XINFO GROUPS s
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XINFO GROUPS s
        XTRIM s MAXLEN 2
        XINFO GROUPS s
        XGROUP SETID s g 0
        XINFO GROUPS s
        XGROUP SETID s g 4
        XINFO GROUPS s
        XDEL s 4 5
        XINFO GROUPS s
        XADD s 6 a 1
        XINFO GROUPS s
        XREADGROUP GROUP g c STREAMS s >
        XINFO GROUPS s
        XGROUP SETID s g 0 ENTRIESREAD 2
        XINFO GROUPS s
        XSETID s 9 ENTRIESADDED 100 MAXDELETEDID 0-1
        XINFO GROUPS s
    """

CONSUMERS_OF_7_2 = """
        XADD s 1 a 1
        XGROUP CREATE s g 0
        XCLAIM s g new 0 9
        XAUTOCLAIM s g auto 0 0
        XINFO CONSUMERS s g
        XREADGROUP GROUP g reader STREAMS s 0
        XINFO CONSUMERS s g
        XREADGROUP GROUP g reader STREAMS s >
        XREADGROUP GROUP g late STREAMS s >
        XREADGROUP GROUP g idle NOACK STREAMS s >
        XINFO CONSUMERS s g
        XINFO STREAM s FULL
        XCLAIM s g new 0 1
        XINFO STREAM s FULL
"""

_BEFORE_7_2 = "so since 7.2"
UNLIKE = {
    "XADD s 11-* a 1": Unlike("redis", "7.0 gives the wrong error"),
    "XSETID s 6-5": Unlike("redis", "7.0 lets the last id fall below a deleted one"),
    "XREAD BLOCK 9223372036854775807 STREAMS s 0": Unlike("redis", "7.0 does not see the overflow"),
    "XREAD STREAMS s r 0": Unlike("redis", _BEFORE_7_2),
    "XREADGROUP GROUP g c STREAMS s r >": Unlike("redis", _BEFORE_7_2),
}


def run(judge: Judge, table: str) -> None:
    """Check each line, times apart, and the state in the end."""
    for line in table.splitlines():
        request = words(line)
        if request:
            judge.check(*request, order=timeless, unlike=UNLIKE.get(line.strip()))
    judge.same_state()


@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    run(judge, TABLES[name])


def test_lag(judge: Judge) -> None:
    """As Redis calculates it since 7.2.6 and Valkey does: 7.0 counts on over entries that were trimmed unread."""
    if judge.kind == "valkey":
        run(judge, LAG)
        return
    judge.check_all("XADD s 1 a 1\nXGROUP CREATE s g 0\nXINFO GROUPS s\nXREADGROUP GROUP g c NOACK STREAMS s >")
    judge.check("XLEN", "s")


def test_lag_of_generated_groups(judge: Judge) -> None:
    """Groups that are made, moved and read anywhere, while entries are added, deleted and trimmed."""
    if judge.kind != "valkey":
        pytest.skip("7.0 counts otherwise")
    source = Random(SEED)
    added = 0
    for step in range(1500):
        if not step % 30:
            judge.check("DEL", "s")
            added = 0
        request = _step(source, added)
        if request[0] == "XADD":
            added = int(str(request[-3]))
        judge.check(*request, order=timeless)
        judge.check("XINFO", "GROUPS", "s", order=timeless)


def _step(source: Random, added: int) -> tuple[object, ...]:
    """One request about a stream whose last id is `added`."""
    name, place, below = source.choice("gh"), source.choice(("0", "$", source.randrange(added + 3))), added + 2
    read = () if source.random() < 0.4 else ("ENTRIESREAD", source.randrange(-1, 7))
    kind = source.choice("aaaddcmrrrrrt")
    if kind == "a":
        trim = () if source.random() < 0.7 else ("MAXLEN", source.randrange(4))
        return "XADD", "s", *trim, added + source.randrange(1, 3), "f", "v"
    if kind == "c":
        return "XGROUP", "CREATE", "s", name, place, "MKSTREAM", *read
    if kind == "m":
        return "XGROUP", "SETID", "s", name, place, *read
    if kind == "r":
        return "XREADGROUP", "GROUP", name, "c", "COUNT", source.randrange(1, 3), "STREAMS", "s", ">"
    if kind == "d":
        return "XDEL", "s", source.randrange(1, below)
    return "XTRIM", "s", *source.choice((("MAXLEN", source.randrange(4)), ("MINID", source.randrange(below))))


def test_consumers_that_got_nothing(judge: Judge) -> None:
    """Since 7.2 a consumer is there as soon as it asked, and INFO tells when it last got something."""
    if judge.kind == "valkey":
        run(judge, CONSUMERS_OF_7_2)
    else:
        judge.check_all("XADD s 1 a 1\nXGROUP CREATE s g 0")
        judge.check("XCLAIM", "s", "g", "new", 0, 9)
        theirs, ours = judge.both("XINFO", "CONSUMERS", "s", "g")
        assert len(theirs.value) == 0, "7.0 has it now too"
        assert len(ours.value) == 1


# Nodes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "size"), [(5, 4096), (100, 4096), (0, 200), (0, 0), (1, 4096), (3, 60), (300, 100_000)]
)
def test_nodes_are_cut_in_the_same_places(judge: Judge, entries: int, size: int) -> None:
    judge.begin(stream_node_max_entries=str(entries), stream_node_max_bytes=str(size))
    random = Random(SEED + entries)
    ms = 0
    for number in range(450):
        ms += random.choice((0, 1, 1, 7, 300, 70_000, 1 << 33))
        fields = random.choice((["a"], ["a"], ["a"], ["a", "b"], ["long" * 20], ["5"]))
        values = [random.choice((number, "x" * random.randrange(90), -number, 1 << number % 64, "")) for _ in fields]
        pairs = [text for pair in zip(fields, values, strict=True) for text in pair]
        judge.check("XADD", "s", f"{ms}-{number}", *pairs)
    judge.same_state()
    judge.check("XINFO", "STREAM", "s")
    for low, high, count in ((0, ms, 10), (ms // 3, ms // 2, 1000), (0, ms // 2, 120), (ms - 5, ms, 3)):
        judge.check("XRANGE", "s", low, high, "COUNT", count)
        judge.check("XREVRANGE", "s", high, low, "COUNT", count)
    everything = [entry.value[0].value for entry in judge.check("XRANGE", "s", "-", "+").value]
    for gone in random.sample(everything, 200):
        judge.check("XDEL", "s", gone)
    judge.same_state()
    judge.check("XINFO", "STREAM", "s")
    judge.check("XREVRANGE", "s", "+", "-", "COUNT", 90)
    for limit in ([], ["LIMIT", 1], ["LIMIT", 20], ["LIMIT", 0]):
        judge.check("XTRIM", "s", "MAXLEN", "~", 200, *limit)
        judge.check("XTRIM", "s", "MINID", "~", everything[300], *limit)
        judge.check("XINFO", "STREAM", "s")
    judge.check("XTRIM", "s", "MAXLEN", 77)
    judge.check("XTRIM", "s", "MINID", everything[400])
    judge.check("XADD", "s", "MAXLEN", "~", 20, f"{ms + 1}-*", "a", 1)
    judge.check("XINFO", "STREAM", "s")
    judge.check("XRANGE", "s", "-", "+")
    judge.same_state()


def test_digest(judge: Judge) -> None:
    judge.ours.node.config.load("enable-debug-command", ["yes"])
    for line in ("XADD s 1 a 1 b 2", "XADD s 2-5 a 1", "XADD s 3 a 1", "XDEL s 2-5", "XADD t 1 a 1", "EXPIRE t 100"):
        judge.check(*line.split())
    judge.check("DEBUG", "DIGEST-VALUE", "s", "t")
    judge.check("DEBUG", "DIGEST")


# Payloads -------------------------------------------------------------------------------------------------------------


def test_payloads_are_taken_by_the_real_server(judge: Judge) -> None:
    for at in range(1, 250):
        judge.check("XADD", "s", at, "field", f"value {at % 7}")
    for line in ("XDEL s 7 200", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c COUNT 20 STREAMS s >", "XACK s g 3"):
        judge.check(*line.split())
    judge.check("XREADGROUP", "GROUP", "g", "other", "COUNT", 1, "NOACK", "STREAMS", "s", ">")
    ours = judge.ours.run("DUMP", "s")
    theirs = judge.both("DUMP", "s")[0].value
    assert judge._real(b"RESTORE", b"s", b"0", ours, b"REPLACE").value == b"OK"
    assert judge.ours.run("RESTORE", "s", 0, theirs, "REPLACE") == "OK"
    judge.same_state()
    judge.check("XINFO", "STREAM", "s", "FULL", order=timeless)
    judge.check("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", 0)


# Generated ------------------------------------------------------------------------------------------------------------

_ids = st.one_of(
    st.integers(0, 30).map(str),
    st.tuples(st.integers(0, 30), st.integers(0, 3)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.sampled_from(["x", "-1", "18446744073709551615", ""]),
)
_bounds = st.one_of(_ids, st.sampled_from(["-", "+"]), _ids.map(lambda one: "(" + one))
_keys = st.sampled_from(["s", "s", "s", "r", "t"])
_groups = st.sampled_from(["g", "g", "h"])
_names = st.sampled_from(["c", "d", "e"])
_counts = st.sampled_from(["1", "2", "3", "10", "0", "-1", "x"])
_pairs = st.lists(st.sampled_from(["a", "b", "1", "", "x" * 70]), min_size=1, max_size=2).map(
    lambda texts: tuple(text for field in texts for text in (field, "v" + field))
)
_trims = st.one_of(
    st.tuples(st.just("MAXLEN"), st.sampled_from(["=", "~"]), st.integers(0, 12).map(str)),
    st.tuples(st.just("MINID"), st.sampled_from(["=", "~"]), _ids),
    st.tuples(st.just("MAXLEN"), st.just("~"), st.integers(0, 5).map(str), st.just("LIMIT"), _counts),
)


def _command(name: str, *parts: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Requests of one command; a tuple among its parts is spliced in, as are the words of its name."""

    def join(values: Sequence[object]) -> tuple[object, ...]:
        spliced: list[object] = list(name.split())
        for value in values:
            spliced += value if isinstance(value, tuple) else [value]
        return tuple(spliced)

    return st.tuples(*parts).map(join)


def _maybe(*words_: object) -> st.SearchStrategy[tuple[object, ...]]:
    return st.sampled_from([(), tuple(words_)])


_unread = st.just(">")
_new = st.integers(1, 30).map(lambda ms: f"{ms}-*")
REQUESTS = st.one_of(
    _command("XADD", _keys, st.one_of(st.just(()), _trims), st.one_of(_new, _new, _ids), _pairs),
    _command("XADD", st.just("s"), _new, _pairs),
    _command("XADD", st.just("s"), _new, _pairs),
    _command("XDEL", _keys, _ids, _maybe("3-0", "5-1")),
    _command("XTRIM", _keys, _trims),
    _command("XLEN", _keys),
    _command("XRANGE", _keys, _bounds, _bounds, _maybe("COUNT", 2)),
    _command("XREVRANGE", _keys, _bounds, _bounds, _maybe("COUNT", 3)),
    _command("XREAD", _maybe("COUNT", 2), st.just("STREAMS"), _keys, _keys, _ids, _ids),
    _command("XGROUP CREATE", _keys, _groups, _ids, _maybe("MKSTREAM"), _maybe("ENTRIESREAD", 2)),
    _command("XGROUP SETID", _keys, _groups, _ids),
    _command("XGROUP DESTROY", _keys, st.just("h")),
    _command("XGROUP CREATECONSUMER", _keys, _groups, _names),
    _command("XGROUP DELCONSUMER", _keys, _groups, _names),
    _command("XREADGROUP GROUP", _groups, _names, _maybe("COUNT", 2), _maybe("NOACK"), st.just("STREAMS"), _keys, _ids),
    _command("XREADGROUP GROUP g", _names, _maybe("COUNT", 2), _maybe("NOACK"), st.just("STREAMS"), _keys, _unread),
    _command("XACK", _keys, _groups, _ids, _maybe("2-0", "4-0")),
    _command("XPENDING", _keys, _groups),
    _command("XPENDING", _keys, _groups, _bounds, _bounds, _counts, st.one_of(st.just(()), _names)),
    _command("XCLAIM", _keys, _groups, _names, st.sampled_from(["0", "0", "100000"]), _ids, _ids, _maybe("FORCE"),
             _maybe("RETRYCOUNT", 4), _maybe("JUSTID"), _maybe("LASTID", "7-0")),
    _command("XAUTOCLAIM", _keys, _groups, _names, st.just("0"), _bounds, _maybe("COUNT", 2), _maybe("JUSTID")),
    _command("XINFO STREAM", _keys),
    _command("XINFO STREAM", _keys, st.just("FULL")),
    _command("XINFO GROUPS", _keys),
    _command("XSETID", _keys, _ids),
    _command("COPY", st.just("s"), st.just("r"), st.just("REPLACE")),
    _command("DEL", st.just("r")),
)  # fmt: skip


_UNSURE = (b"lag", b"entries-read", b"consumers")
"""Valkey's lags are not Redis 7.2's, and Redis 7.0 has fewer consumers; their deliveries are compared."""


def _sure(tree: Tree) -> Tree:
    """Without times and without `_UNSURE`."""
    return _without_unsure(timeless(tree))


def _without_unsure(tree: Tree) -> Tree:
    if tree.value is None or tree.kind not in "*%":
        return tree
    items: list[Any] = tree.value
    if items and not isinstance(items[0], Tree):
        return Tree(tree.kind, [(name, _without_unsure(value)) for name, value in items if name.value not in _UNSURE])
    return Tree(tree.kind, [_without_unsure(item) for item in items])


@pytest.mark.parametrize("entries", [3, 100])
def test_sequences(judge: Judge, entries: int) -> None:
    @drawn(max(1, EXAMPLES // 4), shrink=False)
    @given(st.lists(REQUESTS, min_size=100, max_size=200))
    def sequence(requests: list[tuple[object, ...]]) -> None:
        judge.begin(stream_node_max_entries=str(entries))
        for request in requests:
            if judge.kind == "redis" and request[0] == "XSETID":
                continue  # 7.0 does not look at deleted ids
            if judge.kind == "redis" and request[1] == "CREATECONSUMER":
                judge.both(*request)  # 7.0 has no consumer yet that asked and got nothing
            else:
                judge.check(*request, order=_sure)
        for key in ("s", "r", "t"):
            judge.check("XRANGE", key, "-", "+")

    sequence()


# Propagation ----------------------------------------------------------------------------------------------------------

TOLD = """
    XADD s 1-1 a 1
    XADD s 2-* a 1
    XADD s MAXLEN 10 3-* a 1
    XADD s MAXLEN ~ 2 4 a 1
    XADD s MAXLEN ~ 2 LIMIT 10 5 a 1
    XADD s MINID ~ 2 6-* a 1
    XADD s MINID = 2 7 a 1
    XADD s MAXLEN = 3 8 a 1
    xadd s NOMKSTREAM 9 a 1
    XADD nothing NOMKSTREAM 9 a 1
    XADD s 9 a 1
    XDEL s 8 99
    XDEL s 99
    XTRIM s MAXLEN 2
    XTRIM s MAXLEN 2
    XTRIM s MAXLEN ~ 0
    XTRIM s MINID ~ 99
    XADD s 10 a 1
    XADD s 11 a 1
    XADD s 12 a 1
    XTRIM s MINID 11
    XADD s MINID ~ 99 13 a 1
    XSETID s 14 ENTRIESADDED 20
    XADD s 15 a 1
    XADD s 16 a 1
    XADD s 17 a 1
    XADD s 18 a 1
    XGROUP CREATE s g 0
    XGROUP CREATE s h $ MKSTREAM
    XGROUP CREATE s g 0
    XGROUP SETID s h 5 ENTRIESREAD 3
    XGROUP CREATECONSUMER s h c
    XGROUP CREATECONSUMER s h c
    XGROUP DELCONSUMER s h c
    XGROUP DELCONSUMER s h c
    XGROUP DESTROY s h
    XGROUP DESTROY s h
    XREADGROUP GROUP g d NOACK COUNT 1 STREAMS s >
    XREADGROUP GROUP g d NOACK COUNT 1 STREAMS s >
    XREADGROUP GROUP g c STREAMS s 0
    XREADGROUP GROUP g e NOACK STREAMS s 0
    XREADGROUP GROUP g f STREAMS s 0
    XACK s g 15
    XACK s g 15
    XCLAIM s g d 0 16
    XCLAIM s g d 100000 16
    XCLAIM s g d 0 15 FORCE JUSTID
    XCLAIM s g d 0 16-0 RETRYCOUNT 5 TIME 1000
    XCLAIM s g d 0 99 LASTID 30
    XCLAIM s g d 0 16 LASTID 31
    XAUTOCLAIM s g c 0 0
    XAUTOCLAIM s g c 100000 0
    XDEL s 15
    XCLAIM s g c 0 15
    XDEL s 16
    XAUTOCLAIM s g c 0 0
    XREAD STREAMS s 0
    XPENDING s g
"""


def test_replicas_are_told_the_same(servers: Servers) -> None:
    compare_told(servers, TOLD)


TOLD_SINCE_7_2_5 = """
    XADD s 1 a 1
    XADD s 2 a 1
    XADD s 3 a 1
    XADD r 1 a 1
    XGROUP CREATE s g 0
    XGROUP CREATE r g 0
    XREADGROUP GROUP g c COUNT 2 STREAMS s r > >
    XREADGROUP GROUP g c COUNT 2 STREAMS s r > >
    XREADGROUP GROUP g d STREAMS s >
    XREADGROUP GROUP g new NOACK STREAMS s >
    XGROUP SETID s g 1
    XREADGROUP GROUP g d STREAMS s >
    XREADGROUP GROUP g d STREAMS s 0
"""


def test_replicas_are_told_how_far_a_group_has_come(servers: Servers) -> None:
    """Redis 7.0 tells it only with NOACK, so that its replicas lose count."""
    compare_told(servers, TOLD_SINCE_7_2_5, "valkey")


# Facts ----------------------------------------------------------------------------------------------------------------

COMMANDS = {
    command.name: command
    for group in GROUPS
    if group.name == "stream"
    for parent in group.commands
    for command in (parent, *parent.subcommands.values())
}
_NEWER = {"xdelex", "xackdel"}
"""Neither server knows these."""
_DIFFERENT_FACTS = {
    ("redis", "xinfo|stream", "history"),
    ("redis", "xinfo|consumers", "history"),
    ("valkey", "xread", "complexity"),
}
"""Changed in 7.2, and forgotten by Valkey."""


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - _NEWER))
def test_facts(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    assert facts is not None
    ours = declared(COMMANDS[name])
    if kind == "redis":
        del facts["summary"]  # in other words since 7.2
    differences = {fact for fact, theirs in facts.items() if theirs != ours[fact]}
    assert differences == {fact for server, one, fact in _DIFFERENT_FACTS if (server, one) == (kind, name)}


def test_keys_of_requests(judge: Judge) -> None:
    judge.check_all("""
        COMMAND GETKEYS XADD k * a 1
        COMMAND GETKEYS XREAD STREAMS a b 0 0
        COMMAND GETKEYS XREAD COUNT 5 BLOCK 0 STREAMS STREAMS b 0 0
        COMMAND GETKEYS XREAD COUNT STREAMS STREAMS a 0
        COMMAND GETKEYS XREAD COUNT 1 STREAMS a b 0
        COMMAND GETKEYS XREAD COUNT 1 STREAMS
        COMMAND GETKEYS XREAD COUNT 1 BOGUS 0
        COMMAND GETKEYS XREADGROUP GROUP STREAMS c STREAMS a b > >
        COMMAND GETKEYS XREADGROUP GROUP g c NOACK COUNT 1 BLOCK 1 STREAMS a >
        COMMAND GETKEYS XREADGROUP GROUP g c BOGUS STREAMS a >
        COMMAND GETKEYS XGROUP CREATE k g 0
        COMMAND GETKEYS XINFO STREAM k
        COMMAND GETKEYS XCLAIM k g c 0 1
    """)


def _shape(argument: Any) -> tuple[Any, ...]:
    """An argument of COMMAND DOCS without its name."""
    flags = tuple(sorted(argument.get("flags", [])))
    return argument["type"], argument.get("token", ""), flags, tuple(map(_shape, argument.get("arguments", [])))


_ADDED = {("pure-token", "KEEPREF", (), ()), ("integer", "CLAIM", ("optional",), ())}
"""What Redis 8.2 and 8.4 added."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - _NEWER - {"xpending"}))
def test_arguments(servers: Servers, name: str) -> None:
    """As Valkey describes them (XPENDING's and XCLAIM's min-idle-time are of two types there)."""
    request = [b"COMMAND", b"DOCS", name.encode()]
    theirs = facts_in(servers.wire("valkey", 3).call(*request))[name].get("arguments", [])
    ours = facts_in(parse_whole(Harness().wire(*request, protocol=3)))[name].get("arguments", [])
    shapes = [shape for shape in map(_shape, ours) if not ({shape, *shape[3]} & _ADDED)]
    assert shapes == list(map(_shape, theirs))
    assert (len(shapes) < len(ours)) == (name in ("xadd", "xtrim", "xreadgroup"))
