"""Stream commands against the real servers, case by case. Each line of a table is one request."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from node.persistence import payload
from tests.commands.harness import encoded
from tests.oracle.oracle import EXAMPLES, SEED, Judge, words
from tests.oracle.streams import timeless
from tests.oracle.wire import Tree

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
        XCLAIM s g new 0 9
        XINFO CONSUMERS s g
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
        XAUTOCLAIM s g new 0 0
        XAUTOCLAIM s g new 0 0
        XINFO CONSUMERS s g
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
    "lag": """
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
        DEBUG DIGEST-VALUE u t
        DEBUG DIGEST
    """,
}


def run(judge: Judge, table: str) -> None:
    for line in table.splitlines():
        request = words(line)
        if request:
            judge.check(*request, order=timeless)
    judge.same_state()


@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    run(judge, TABLES[name])
