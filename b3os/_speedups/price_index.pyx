"""Price thresholds in C memory, sorted per asset: a tick costs a few binary searches plus its hits.

Prices and levels are integers scaled by 10**18, held in 128 bits; outside ±LIMIT they are refused. A threshold is
*armed* until it fires, and then *latched* until the price has gone back by its slack; only a crossing without slack
needs no latch, since the previous price tells all. An asset keeps one line of armed thresholds for each operation and
two of latched ones (those that wait for a fall, those that wait for a rise). All state of a threshold is which lines
hold it.

A line is a directory of blocks of at most BLOCK entries, each sorted by level and slot: to insert or remove moves at
most one block. One sorted array moved 10 MB for a change among 1,000,000 thresholds (0.4 ms; here 0.5 µs).

Memory: 48 bytes a slot, 20 a place in a block, an asset's lines while it has thresholds. The index owns it all until it
is collected. ValueError is raised before anything changes; after a MemoryError the index must be built anew.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

cdef extern from *:
    """
    #include <stdint.h>
    typedef __int128 b3_price;
    #define b3_join(high, low) ((b3_price)(((unsigned __int128)(uint64_t)(high) << 64) | (uint64_t)(low)))
    #define b3_high(price) ((int64_t)((price) >> 64))
    #define b3_low(price) ((uint64_t)(price))
    """
    ctypedef long long b3_price
    b3_price b3_join(int64_t high, uint64_t low) nogil
    int64_t b3_high(b3_price price) nogil
    uint64_t b3_low(b3_price price) nogil

cdef extern from "Python.h":
    uint64_t PyLong_AsUnsignedLongLongMask(object) except? 0xFFFFFFFFFFFFFFFFu

cdef enum:
    BLOCK = 256
    LINES = 7
    FALL = 5  # latched until the price falls to a level
    RISE = 6  # latched until it rises to one

cdef enum State:
    ABSENT
    ARMED
    LATCHED

CROSS_UP, CROSS_DOWN, ABOVE, BELOW, EQUAL = range(5)
#: 10**19 units: level and slack together stay inside 128 bits.
LIMIT = 10**37

cdef uint32_t NONE = 0xFFFFFFFF
cdef b3_price LOWEST = b3_join(<int64_t>0x8000000000000000u, 0)
cdef b3_price HIGHEST = b3_join(0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFFu)


cdef struct Block:
    b3_price levels[BLOCK]
    uint32_t slots[BLOCK]
    uint32_t count


cdef struct Entry:
    b3_price level  # of the block's first threshold, so that a search touches one block
    Block* block
    uint32_t slot


cdef struct Line:
    Entry* entries
    uint32_t count
    uint32_t room
    uint32_t held


cdef struct Asset:
    Line lines[LINES]
    b3_price previous
    uint32_t held  # of a free asset: the next free one
    bint is_known


cdef struct Threshold:
    b3_price level
    b3_price slack
    uint32_t asset
    uint8_t operation
    uint8_t state


cdef struct Tick:
    b3_price price
    uint32_t asset


cdef inline bint precedes(b3_price level, uint32_t slot, b3_price other, uint32_t other_slot) noexcept nogil:
    return level < other or (level == other and slot < other_slot)


cdef uint32_t block_of(const Line* line, b3_price level, uint32_t slot) noexcept nogil:
    """Return the last block that begins at or before a place; the first one if none does."""
    cdef uint32_t low = 0, high = line.count, middle
    while high - low > 1:
        middle = (low + high) >> 1
        if precedes(level, slot, line.entries[middle].level, line.entries[middle].slot):
            high = middle
        else:
            low = middle
    return low


cdef uint32_t place_in(const Block* block, b3_price level, uint32_t slot) noexcept nogil:
    """Return how many of a block's thresholds come before a place."""
    cdef uint32_t low = 0, high = block.count, middle
    while low < high:
        middle = (low + high) >> 1
        if precedes(block.levels[middle], block.slots[middle], level, slot):
            low = middle + 1
        else:
            high = middle
    return low


cdef void refresh(Line* line, uint32_t at) noexcept nogil:
    line.entries[at].level = line.entries[at].block.levels[0]
    line.entries[at].slot = line.entries[at].block.slots[0]


cdef void copy_part(Block* target, uint32_t to, const Block* source, uint32_t start, uint32_t count) noexcept nogil:
    memmove(&target.levels[to], &source.levels[start], count * sizeof(b3_price))
    memmove(&target.slots[to], &source.slots[start], count * sizeof(uint32_t))


cdef Block* open_block(Line* line, uint32_t at) except NULL:
    """Make room for an entry of the directory, with an empty block."""
    cdef Block* block
    cdef Entry* entries
    cdef uint32_t room
    if line.count == line.room:
        room = line.room + (line.room >> 1) + 4
        entries = <Entry*>realloc(line.entries, <size_t>room * sizeof(Entry))
        if entries == NULL:
            raise MemoryError("the price index cannot grow")
        line.entries = entries
        line.room = room
    block = <Block*>malloc(sizeof(Block))
    if block == NULL:
        raise MemoryError("the price index cannot grow")
    block.count = 0
    memmove(&line.entries[at + 1], &line.entries[at], <size_t>(line.count - at) * sizeof(Entry))
    line.entries[at].block = block
    line.count += 1
    return block


cdef void close_block(Line* line, uint32_t at) noexcept nogil:
    free(line.entries[at].block)
    memmove(&line.entries[at], &line.entries[at + 1], <size_t>(line.count - at - 1) * sizeof(Entry))
    line.count -= 1
    if not line.count:
        free(line.entries)
        line.entries = NULL
        line.room = 0


cdef int add(Line* line, b3_price level, uint32_t slot) except -1:
    """Put a threshold into a line; it is not there yet."""
    cdef uint32_t at = 0, place, moved
    cdef Block* block
    cdef Block* fresh
    if not line.count:
        open_block(line, 0)
    else:
        at = block_of(line, level, slot)
    block = line.entries[at].block
    place = place_in(block, level, slot)
    if block.count == BLOCK:
        # A block that is full at its end stays full: thresholds that come in order do not leave half-empty blocks.
        moved = 0 if place == BLOCK and at + 1 == line.count else BLOCK // 2
        fresh = open_block(line, at + 1)
        copy_part(fresh, 0, block, BLOCK - moved, moved)
        fresh.count = moved
        block.count -= moved
        if moved:
            refresh(line, at + 1)
        if place > block.count or not moved:
            place -= block.count
            at += 1
            block = fresh
    copy_part(block, place + 1, block, place, block.count - place)
    block.levels[place] = level
    block.slots[place] = slot
    block.count += 1
    line.held += 1
    if not place:
        refresh(line, at)
    return 0


cdef void take(Line* line, b3_price level, uint32_t slot) noexcept nogil:
    """Take a threshold that is there out of a line; a block that becomes small joins its neighbour."""
    cdef uint32_t at = block_of(line, level, slot), place
    cdef Block* block = line.entries[at].block
    cdef Block* after
    place = place_in(block, level, slot)
    copy_part(block, place, block, place + 1, block.count - place - 1)
    block.count -= 1
    line.held -= 1
    if not block.count:
        close_block(line, at)
        return
    if not place:
        refresh(line, at)
    if block.count > BLOCK // 4:
        return
    if at + 1 == line.count and at:
        at -= 1
    if at + 1 < line.count:
        block = line.entries[at].block
        after = line.entries[at + 1].block
        if block.count + after.count <= BLOCK * 3 // 4:
            copy_part(block, block.count, after, 0, after.count)
            block.count += after.count
            close_block(line, at + 1)


cdef void empty(Line* line) noexcept nogil:
    cdef uint32_t at
    for at in range(line.count):
        free(line.entries[at].block)
    free(line.entries)
    memset(line, 0, sizeof(Line))


cdef b3_price to_price(object value, str what) except? -1:
    if not isinstance(value, int):
        raise ValueError(f"{what} is an integer scaled by 10**18, not {type(value).__name__}")
    if not -LIMIT <= value <= LIMIT:
        raise ValueError(f"{what} is at most 10**37 (10**19 units) either way")
    return b3_join(<int64_t>(value >> 64), PyLong_AsUnsignedLongLongMask(value))


cdef object from_price(b3_price price):
    return ((<object>b3_high(price)) << 64) | b3_low(price)


cdef uint32_t to_slot(object slot) except? 0xFFFFFFFF:
    if not 0 <= slot < 1 << 31:
        raise ValueError(f"a slot is between 0 and 2**31 - 1, not {slot}")
    return <uint32_t>slot


@cython.final
cdef class PriceIndex:
    """Thresholds by slot, one to a slot; a slot is a number that the caller chose, below 2**31."""

    cdef Threshold* thresholds
    cdef uint32_t room
    cdef uint32_t held
    cdef Asset* assets
    cdef uint32_t asset_count, asset_room, asset_free
    cdef dict numbers  # name of an asset -> its number
    cdef list names  # name by number; None of a free one
    cdef uint32_t* found  # slots of the range that was gathered last
    cdef uint32_t found_room

    def __cinit__(self):
        self.asset_free = NONE
        self.numbers = {}
        self.names = []

    def __dealloc__(self):
        cdef uint32_t asset, line
        for asset in range(self.asset_count):
            for line in range(LINES):
                empty(&self.assets[asset].lines[line])
        free(self.assets)
        free(self.thresholds)
        free(self.found)

    def __len__(self):
        return self.held

    def put(self, slot, str asset, operation, level, slack=0):
        """Set the threshold of a slot, armed; what the slot had before is gone. ValueError for what does not fit."""
        cdef uint32_t place = to_slot(slot), number
        cdef b3_price at = to_price(level, "a level"), back = to_price(slack, "a slack")
        cdef Threshold* threshold
        if not CROSS_UP <= operation <= EQUAL:
            raise ValueError(f"an operation is between {CROSS_UP} and {EQUAL}, not {operation}")
        if back < 0:
            raise ValueError("a slack is not negative")
        self.make_room(place)
        number = self.number_of(asset)
        # Counted first: the asset stays although its last threshold is being replaced.
        self.assets[number].held += 1
        self.remove(place)
        threshold = &self.thresholds[place]
        threshold.level = at
        threshold.slack = back
        threshold.asset = number
        threshold.operation = operation
        self.held += 1
        threshold.state = ARMED
        add(&self.assets[number].lines[threshold.operation], at, place)

    def __contains__(self, slot):
        cdef uint32_t place = to_slot(slot)
        return place < self.room and self.thresholds[place].state != ABSENT

    def has(self, slot, str asset, operation, level, slack=0):
        """Return whether a slot has exactly this threshold, fired or not."""
        cdef uint32_t place = to_slot(slot)
        cdef const Threshold* held
        if place >= self.room or self.thresholds[place].state == ABSENT:
            return False
        held = &self.thresholds[place]
        return (
            self.numbers.get(asset) == held.asset
            and held.operation == operation
            and held.level == to_price(level, "a level")
            and held.slack == to_price(slack, "a slack")
        )

    def drop(self, slot):
        """Remove the threshold of a slot; False when it has none."""
        return self.remove(to_slot(slot))

    def latch(self, slot):
        """Say that the threshold of a slot has fired and the price has not come back since; False without one."""
        cdef uint32_t place = to_slot(slot)
        if place >= self.room or self.thresholds[place].state == ABSENT:
            return False
        if self.thresholds[place].state == ARMED:
            self.fire(place)
        return True

    def is_latched(self, slot):
        """Return whether the threshold of a slot waits for the price to come back; False without one."""
        cdef uint32_t place = to_slot(slot)
        return place < self.room and self.thresholds[place].state == LATCHED

    def set_previous(self, str asset, price):
        """Set the price that the next tick of an asset is compared with; None: as if there was none."""
        cdef b3_price known = 0 if price is None else to_price(price, "a price")
        cdef Asset* held
        number = self.numbers.get(asset)
        if number is not None:
            held = &self.assets[<uint32_t>number]
            held.previous = known
            held.is_known = price is not None

    def previous(self, str asset):
        """Return the last price of an asset; None before its first tick, or when nothing watches it."""
        number = self.numbers.get(asset)
        if number is None or not self.assets[<uint32_t>number].is_known:
            return None
        return from_price(self.assets[<uint32_t>number].previous)

    def watched(self):
        """Return the names of the assets that have thresholds."""
        return list(self.numbers)

    def reset(self):
        """Arm every threshold and forget all previous prices."""
        cdef uint32_t slot, number
        for slot in range(self.room):
            if self.thresholds[slot].state == LATCHED:
                self.arm(slot)
        for number in range(self.asset_count):
            self.assets[number].is_known = False

    def match(self, ticks):
        """Take ticks (asset, price) in order; returns (hits, rearmed), each a list of (number of the tick, slot).

        The slots of a tick are in the order of operation, level and slot. A tick of an unwatched asset is nothing.
        """
        cdef uint32_t count = len(ticks), number
        cdef Tick* read = <Tick*>malloc(max(count, 1) * sizeof(Tick))
        cdef list hits = [], rearmed = []
        if read == NULL:
            raise MemoryError("no room for a batch of ticks")
        try:
            for number in range(count):
                asset, price = ticks[number]
                read[number].price = to_price(price, "a price")
                read[number].asset = <uint32_t>self.numbers.get(asset, NONE)
            for number in range(count):
                if read[number].asset != NONE:
                    self.take_tick(number, &read[number], hits, rearmed)
        finally:
            free(read)
        return hits, rearmed

    def memory(self):
        """Bytes that the index holds in C."""
        cdef size_t total = <size_t>self.room * sizeof(Threshold) + <size_t>self.asset_room * sizeof(Asset)
        cdef uint32_t asset, line
        cdef Line* one
        for asset in range(self.asset_count):
            for line in range(LINES):
                one = &self.assets[asset].lines[line]
                total += <size_t>one.room * sizeof(Entry) + <size_t>one.count * sizeof(Block)
        return total + <size_t>self.found_room * sizeof(uint32_t)

    cdef int take_tick(self, uint32_t number, const Tick* tick, list hits, list rearmed) except -1:
        """Let latched thresholds come back first: none of them can fire at the price that arms it."""
        cdef Asset* asset = &self.assets[tick.asset]
        cdef b3_price price = tick.price, previous = asset.previous
        cdef uint32_t count, at
        for line in (FALL, RISE):
            count = self.gather(&asset.lines[line], price if line == FALL else LOWEST, HIGHEST if line == FALL else price)
            for at in range(count):
                self.arm(self.found[at])
                rearmed.append((number, self.found[at]))
        if asset.is_known and previous < price:
            self.fire_range(number, &asset.lines[<uint32_t>CROSS_UP], previous + 1, price, hits)
        if asset.is_known and previous > price:
            self.fire_range(number, &asset.lines[<uint32_t>CROSS_DOWN], price, previous - 1, hits)
        self.fire_range(number, &asset.lines[<uint32_t>ABOVE], LOWEST, price - 1, hits)
        self.fire_range(number, &asset.lines[<uint32_t>BELOW], price + 1, HIGHEST, hits)
        self.fire_range(number, &asset.lines[<uint32_t>EQUAL], price, price, hits)
        asset.previous = price
        asset.is_known = True
        return 0

    cdef int fire_range(self, uint32_t number, Line* line, b3_price low, b3_price high, list hits) except -1:
        cdef uint32_t count = self.gather(line, low, high), at
        for at in range(count):
            self.fire(self.found[at])
            hits.append((number, self.found[at]))
        return 0

    cdef uint32_t gather(self, const Line* line, b3_price low, b3_price high) except? 0xFFFFFFFF:
        """Copy the slots of a line's levels low to high into `found`; returns how many there are."""
        cdef uint32_t at, place, count = 0
        cdef const Block* block
        if not line.count:
            return 0
        at = block_of(line, low, 0)
        place = place_in(line.entries[at].block, low, 0)
        while at < line.count:
            block = line.entries[at].block
            self.reserve(count + BLOCK)
            while place < block.count:
                if block.levels[place] > high:
                    return count
                self.found[count] = block.slots[place]
                count += 1
                place += 1
            place = 0
            at += 1
        return count

    cdef int reserve(self, uint32_t count) except -1:
        cdef uint32_t room
        cdef uint32_t* grown
        if count > self.found_room:
            room = count + (count >> 1)
            grown = <uint32_t*>realloc(self.found, <size_t>room * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError("no room for the hits of a tick")
            self.found = grown
            self.found_room = room
        return 0

    cdef int fire(self, uint32_t slot) except -1:
        """Latch an armed threshold, unless the previous price says all there is to know of it."""
        cdef Threshold* one = &self.thresholds[slot]
        cdef Line* lines = &self.assets[one.asset].lines[0]
        cdef bint is_equal = one.operation == EQUAL
        # An equal threshold without slack comes back at any other price.
        cdef b3_price slack = one.slack if one.slack or not is_equal else 1
        if one.operation <= CROSS_DOWN and not one.slack:
            return 0
        if is_equal or one.operation == CROSS_UP or one.operation == ABOVE:
            add(&lines[FALL], one.level - slack, slot)
        if is_equal or one.operation == CROSS_DOWN or one.operation == BELOW:
            add(&lines[RISE], one.level + slack, slot)
        take(&lines[one.operation], one.level, slot)
        one.state = LATCHED
        return 0

    cdef int arm(self, uint32_t slot) except -1:
        """Arm a latched threshold."""
        cdef Threshold* one = &self.thresholds[slot]
        add(&self.assets[one.asset].lines[one.operation], one.level, slot)
        self.unlatch(one, slot)
        one.state = ARMED
        return 0

    cdef void unlatch(self, const Threshold* one, uint32_t slot) noexcept:
        cdef Line* lines = &self.assets[one.asset].lines[0]
        cdef bint is_equal = one.operation == EQUAL
        cdef b3_price slack = one.slack if one.slack or not is_equal else 1
        if is_equal or one.operation == CROSS_UP or one.operation == ABOVE:
            take(&lines[FALL], one.level - slack, slot)
        if is_equal or one.operation == CROSS_DOWN or one.operation == BELOW:
            take(&lines[RISE], one.level + slack, slot)

    cdef bint remove(self, uint32_t slot) except -1:
        cdef Threshold* one
        if slot >= self.room or self.thresholds[slot].state == ABSENT:
            return False
        one = &self.thresholds[slot]
        if one.state == ARMED:
            take(&self.assets[one.asset].lines[one.operation], one.level, slot)
        else:
            self.unlatch(one, slot)
        one.state = ABSENT
        self.held -= 1
        self.assets[one.asset].held -= 1
        if not self.assets[one.asset].held:
            self.forget(one.asset)
        return True

    cdef int forget(self, uint32_t number) except -1:
        """Free an asset that nothing watches; its price would be old when something does again."""
        del self.numbers[self.names[number]]
        self.names[number] = None
        self.assets[number].held = self.asset_free
        self.assets[number].is_known = False
        self.asset_free = number
        return 0

    cdef int make_room(self, uint32_t slot) except -1:
        cdef uint32_t room
        cdef Threshold* grown
        if slot >= self.room:
            room = max(slot + 1, self.room + (self.room >> 2) + 64)
            grown = <Threshold*>realloc(self.thresholds, <size_t>room * sizeof(Threshold))
            if grown == NULL:
                raise MemoryError("the price index cannot grow")
            memset(grown + self.room, 0, <size_t>(room - self.room) * sizeof(Threshold))
            self.thresholds = grown
            self.room = room
        return 0

    cdef uint32_t number_of(self, str asset) except? 0xFFFFFFFF:
        """Return the number of an asset, a new one if it has none."""
        cdef uint32_t number, room
        cdef Asset* grown
        known = self.numbers.get(asset)
        if known is not None:
            return known
        if self.asset_free != NONE:
            number = self.asset_free
            self.asset_free = self.assets[number].held
        else:
            if self.asset_count == self.asset_room:
                room = self.asset_room + (self.asset_room >> 1) + 8
                grown = <Asset*>realloc(self.assets, <size_t>room * sizeof(Asset))
                if grown == NULL:
                    raise MemoryError("the price index cannot grow")
                self.assets = grown
                self.asset_room = room
            number = self.asset_count
            self.asset_count += 1
            self.names.append(None)
        memset(&self.assets[number], 0, sizeof(Asset))
        self.numbers[asset] = number
        self.names[number] = asset
        return number
