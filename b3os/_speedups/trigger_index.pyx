"""An index in C memory over all active triggers: one lookup per shape of pattern, however many triggers there are.

A log pattern binds the chain and any of address and topics 0 to 3. Patterns that bind the same fields have one
*shape*, and all shapes one table each: open addressing over the bytes of the bound fields, with the full bytes
compared. A chain has few shapes in use, so a log costs a hash and a probe for each of them. Slots that share a
pattern hang on it as a list, so that ten thousand watchers of one token are inserted and dropped in constant time.

Exact keys (webhook secrets, accounts, channels) are one more shape. Logs are read from the bytes of an eth_getLogs
answer: nothing becomes a Python object but the hits. Errors are raised before anything changes.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t b3_mix(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    #define b3_prefetch(p) __builtin_prefetch(p)
    """
    uint64_t b3_mix(uint64_t, uint64_t) nogil
    void b3_prefetch(const void*) nogil

cdef enum:
    LOG_SHAPES = 32  # which of address, topic 0..3 are bound
    KEY_SHAPE = 32
    SHAPES = 33
    FREE_SHAPE = 33  # of a node that is not in use
    TRANSFER_KINDS = 2  # kinds 1 and 2 are ends of native transfers
    REVERT_KIND = 8  # and 9: ends of transactions
    BLOCK_KIND = 10  # chain and step: every so many blocks. Keys of these five kinds begin with the chain, big-endian
    KEY_LIMIT = 96
    KEY_BYTES = 98  # kind, length, bytes padded with zeros
    LONGEST = 156  # chain, address and four topics
    CHUNK = 32  # logs whose buckets are fetched together
    MAX_DEPTH = 64
    FILTER_LIMIT = 1000  # a merged filter with more entries is refused by nodes: ask for any

cdef uint32_t NONE = 0xFFFFFFFF
cdef uint32_t[5] FIELD = [20, 32, 32, 32, 32]  # bytes of address and topics


include "pattern_table.pxi"


cdef struct Node:
    uint32_t slot
    uint32_t pattern
    uint32_t after
    uint32_t before
    uint32_t sibling  # next node of the same slot; of a free node: the next free one
    uint32_t shape


cdef struct Event:
    const uint8_t* start
    const uint8_t* end
    uint32_t topics
    uint8_t key[LONGEST]  # chain, address, topics in order


cdef uint32_t key_of(uint32_t shape, const uint8_t* full, uint8_t* out) noexcept nogil:
    """Write the bound fields of a full key (chain, address, four topics) one after the other; returns the width."""
    cdef uint32_t at = 8, topic
    memcpy(out, full, 8)
    if shape & 1:
        memcpy(out + at, full + 8, 20)
        at += 20
    for topic in range(4):
        if shape & (2 << topic):
            memcpy(out + at, full + 28 + 32 * topic, 32)
            at += 32
    return at


@cython.final
cdef class TriggerIndex:
    """Patterns by slot; a slot is a number that the caller chose, below 2**31, and may have several patterns."""

    cdef Table tables[SHAPES]
    cdef Node* nodes
    cdef uint32_t node_count, node_room, node_free
    cdef uint32_t* slots  # first node of a slot
    cdef uint32_t slot_room
    cdef uint32_t held
    cdef uint64_t seed
    cdef dict chains  # chain id -> patterns in use by shape
    cdef dict keyed  # (chain id, kind) -> keys in use, for kinds whose keys begin with a chain
    cdef dict stepped  # chain id -> step of blocks -> keys in use
    cdef dict filters  # chain id -> its merged filter, until a pattern changes

    def __cinit__(self, *, uint64_t seed=0):
        cdef uint32_t shape, topic
        self.seed = seed
        self.node_free = NONE
        self.chains = {}
        self.keyed = {}
        self.stepped = {}
        self.filters = {}
        for shape in range(SHAPES):
            self.tables[shape].free_head = NONE
            self.tables[shape].width = 8 + 20 * (shape & 1)
            for topic in range(4):
                if shape & (2 << topic):
                    self.tables[shape].width += 32
        self.tables[KEY_SHAPE].width = KEY_BYTES

    def __dealloc__(self):
        cdef uint32_t shape
        for shape in range(SHAPES):
            free(self.tables[shape].buckets)
            free(self.tables[shape].keys)
            free(self.tables[shape].hashes)
            free(self.tables[shape].heads)
        free(self.nodes)
        free(self.slots)

    def __len__(self):
        return self.held

    def put_log(self, slot, chain_id, address, topics):
        """Add a log pattern to a slot; None binds nothing. ValueError for a field of the wrong size."""
        cdef uint8_t full[LONGEST]
        cdef uint8_t key[LONGEST]
        cdef uint32_t shape = 0, number, width
        check_slot(slot)
        write_chain(full, chain_id)
        if address is not None:
            copy_field(full + 8, address, 20, "an address")
            shape |= 1
        if len(topics) > 4:
            raise ValueError(f"a log has at most 4 topics, the pattern {len(topics)}")
        for number, topic in enumerate(topics):
            if topic is not None:
                copy_field(full + 28 + 32 * number, topic, 32, "a topic")
                shape |= 2 << number
        width = key_of(shape, full, key)
        self.add_log(slot, shape, key)

    def put_key(self, slot, kind, key):
        """Add an exact key of a kind (0 to 255) to a slot; ValueError for more than 96 bytes."""
        cdef uint8_t packed[KEY_BYTES]
        check_slot(slot)
        pack_key(packed, kind, key)
        self.add_key(slot, packed)

    def put_patterns(self, packed):
        """Take compiled patterns, each in place of all that its slot has; returns the slots whose cannot be read."""
        cdef Py_buffer view
        PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE)
        try:
            return put_packed(self, <const uint8_t*>view.buf, <const uint8_t*>view.buf + view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int add_log(self, uint32_t slot, uint32_t shape, const uint8_t* key) except -1:
        cdef uint64_t chain
        cdef list shapes
        if self.add(slot, shape, key, self.tables[shape].width):
            memcpy(&chain, key, 8)
            shapes = self.chains.get(chain)
            if shapes is None:
                shapes = self.chains[chain] = [0] * LOG_SHAPES
            shapes[shape] += 1
            if self.filters:
                self.filters.pop(chain, None)
        return 0

    cdef int add_key(self, uint32_t slot, const uint8_t* packed) except -1:
        if self.add(slot, KEY_SHAPE, packed, KEY_BYTES) and is_of_chain(packed):
            self.count_key(packed, 1)
        return 0

    cdef int count_key(self, const uint8_t* packed, int by) except -1:
        cdef uint64_t chain = key_number(packed, 0)
        add_up(self.keyed, (chain, packed[0]), by)
        if packed[0] == BLOCK_KIND and packed[1] == 16:
            steps = self.stepped.setdefault(chain, {})
            add_up(steps, key_number(packed, 8), by)
            if not steps:
                del self.stepped[chain]
        return 0

    cdef bint add(self, uint32_t slot, uint32_t shape, const uint8_t* key, uint32_t width) except -1:
        """Hang a slot on a pattern; False when it hangs there already."""
        cdef Table* table = &self.tables[shape]
        cdef uint64_t hashed = hash_bytes(key, width, self.seed)
        cdef uint32_t known = find(table, key, hashed), at, pattern, node
        self.make_room(slot)
        at = self.slots[slot]
        while at != NONE:
            if known != NONE and self.nodes[at].shape == shape and self.nodes[at].pattern == known:
                return False
            at = self.nodes[at].sibling
        pattern = find_or_add(table, key, hashed)
        if self.node_free != NONE:
            node = self.node_free
            self.node_free = self.nodes[node].sibling
        else:
            node = self.node_count
            self.node_count += 1
        if self.slots[slot] == NONE:
            self.held += 1
        self.nodes[node] = Node(slot, pattern, table.heads[pattern], NONE, self.slots[slot], shape)
        if table.heads[pattern] != NONE:
            self.nodes[table.heads[pattern]].before = node
        table.heads[pattern] = node
        self.slots[slot] = node
        return True

    cdef int make_room(self, uint32_t slot) except -1:
        """Reserve a node and the slot's entry before anything changes."""
        cdef uint32_t room
        if self.node_free == NONE and self.node_count == self.node_room:
            room = self.node_room + (self.node_room >> 2) + 64
            self.nodes = <Node*>grown(self.nodes, <size_t>room * sizeof(Node))
            self.node_room = room
        if slot >= self.slot_room:
            room = max(slot + 1, self.slot_room + (self.slot_room >> 2) + 64)
            self.slots = <uint32_t*>grown(self.slots, <size_t>room * sizeof(uint32_t))
            memset(self.slots + self.slot_room, 0xFF, <size_t>(room - self.slot_room) * sizeof(uint32_t))
            self.slot_room = room
        return 0

    def drop(self, slot):
        """Remove all that a slot has; False when it has nothing."""
        check_slot(slot)
        return self.drop_slot(slot)

    cdef bint drop_slot(self, uint32_t number) except -1:
        cdef uint32_t at, after
        if number >= self.slot_room or self.slots[number] == NONE:
            return False
        at = self.slots[number]
        while at != NONE:
            after = self.nodes[at].sibling
            self.unhang(at)
            self.nodes[at].shape = FREE_SHAPE
            self.nodes[at].sibling = self.node_free
            self.node_free = at
            at = after
        self.slots[number] = NONE
        self.held -= 1
        return True

    cdef int unhang(self, uint32_t at) except -1:
        cdef Node* node = &self.nodes[at]
        cdef Table* table = &self.tables[node.shape]
        cdef const uint8_t* key = table.keys + <size_t>node.pattern * table.width
        chain = self.chain_of(at)
        if node.shape != KEY_SHAPE:
            self.chains[chain][node.shape] -= 1
            if not any(self.chains[chain]):
                del self.chains[chain]
            self.filters.pop(chain, None)
        elif is_of_chain(key):
            self.count_key(key, -1)
        if node.after != NONE:
            self.nodes[node.after].before = node.before
        if node.before != NONE:
            self.nodes[node.before].after = node.after
            return 0
        table.heads[node.pattern] = node.after
        if node.after == NONE:
            remove(table, node.pattern)
        return 0

    cdef uint64_t chain_of(self, uint32_t at) noexcept:
        """The chain of a node in use; 0 for a key that has none."""
        cdef Table* table = &self.tables[self.nodes[at].shape]
        cdef const uint8_t* key = table.keys + <size_t>self.nodes[at].pattern * table.width
        cdef uint64_t chain = 0
        if self.nodes[at].shape == KEY_SHAPE:
            return key_number(key, 0) if is_of_chain(key) else 0
        memcpy(&chain, key, 8)
        return chain

    def slots_on(self, chain_id):
        """Return the slots that listen to a chain, ascending; looks at all there are."""
        cdef uint32_t at
        cdef uint64_t chain
        if not 0 < chain_id < 1 << 63:
            return []
        chain = chain_id
        return sorted({
            self.nodes[at].slot
            for at in range(self.node_count)
            if self.nodes[at].shape != FREE_SHAPE and self.chain_of(at) == chain
        })

    def has_keys(self, chain_id, kind):
        """Whether any key of a kind, whose keys begin with a chain, is of this chain."""
        return (chain_id, kind) in self.keyed

    def steps(self, chain_id):
        """Return every how many blocks of a chain something is wanted, ascending."""
        return sorted(self.stepped.get(chain_id, ()))

    def has_chain(self, chain_id):
        """Whether any log pattern is bound to a chain."""
        return chain_id in self.chains

    def memory(self):
        """Bytes that the index holds in C."""
        cdef size_t total = <size_t>self.node_room * sizeof(Node) + <size_t>self.slot_room * 4
        cdef uint32_t shape
        for shape in range(SHAPES):
            total += self.tables[shape].size * 4 + <size_t>self.tables[shape].room * (self.tables[shape].width + 12)
        return total

    def log_filter(self, chain_id):
        """Return what a merged filter of a chain needs: (addresses, four times topics); None stands for any."""
        cdef uint32_t number, before
        cdef list needed
        found = self.filters.get(chain_id)
        if found is None:
            needed = [set(), set(), set(), set(), set()]
            for shape, count in enumerate(self.chains.get(chain_id, ())):
                if count:
                    before = 8
                    for number in range(5):
                        needed[number] = self.collect(chain_id, shape, 1 << number, before, FIELD[number], needed[number])
                        before += FIELD[number] if shape & 1 << number else 0
            found = tuple([None if one is None else sorted(one) for one in needed])
            found = found[0], found[1:]
            self.filters[chain_id] = found
        return found

    cdef set collect(self, chain_id, uint32_t shape, uint32_t bit, uint32_t at, uint32_t size, set known):
        cdef Table* table = &self.tables[shape]
        cdef uint64_t chain = chain_id, bucket
        cdef const uint8_t* key
        cdef const uint8_t* last = NULL  # most patterns name the same few: no object for what was just seen
        if known is None or not shape & bit:
            return None
        for bucket in range(table.size):
            if table.buckets[bucket]:
                key = table.keys + <size_t>(table.buckets[bucket] - 1) * table.width
                if not memcmp(key, &chain, 8) and (last == NULL or memcmp(last + at, key + at, size)):
                    last = key
                    known.add(key[at : at + size])
                    if len(known) > FILTER_LIMIT:
                        return None
        return known

    def match_keys(self, kind, keys):
        """Return (number of the key, slot) for every slot that has one of the keys, in order."""
        cdef uint8_t packed[KEY_BYTES]
        cdef uint32_t pattern
        found = []
        for number, key in enumerate(keys):
            if len(key) > KEY_LIMIT:
                continue
            pack_key(packed, kind, key)
            pattern = find(&self.tables[KEY_SHAPE], packed, hash_bytes(packed, KEY_BYTES, self.seed))
            found += [(number, slot) for slot in self.slots_of(KEY_SHAPE, pattern)]
        return found

    cdef list slots_of(self, uint32_t shape, uint32_t pattern):
        cdef list found = []
        cdef uint32_t at
        if pattern != NONE:
            at = self.tables[shape].heads[pattern]
            while at != NONE:
                found.append(self.nodes[at].slot)
                at = self.nodes[at].after
            found.sort()
        return found

    def match_log(self, chain_id, address, topics):
        """Return the slots that a log matches, ascending, each once."""
        cdef Event event
        cdef list found = []
        write_chain(event.key, chain_id)
        copy_field(event.key + 8, address, 20, "an address")
        event.topics = 0
        for topic in topics[:4]:
            copy_field(event.key + 28 + 32 * event.topics, topic, 32, "a topic")
            event.topics += 1
        event.start = event.end = NULL
        self.match_chunk(self.shapes_of(chain_id), &event, 1, NULL, found)
        return [slot for slot, _, _ in found]

    cdef list shapes_of(self, chain_id):
        return [shape for shape, count in enumerate(self.chains.get(chain_id, ())) if count]

    def match_logs_json(self, chain_id, body):
        """Match the JSON of an eth_getLogs answer, or of its list: (number of logs, [(slot, start, end), …]).

        body[start:end] is the JSON of the log. ValueError with the offset where the JSON is malformed, or holds an
        error instead of a result.
        """
        cdef Py_buffer view
        cdef Reader reader = Reader()
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
        try:
            reader.index = self
            reader.shapes = self.shapes_of(chain_id)
            reader.hits = []
            reader.events = <Event*>malloc(CHUNK * sizeof(Event))
            if reader.events == NULL:
                raise MemoryError("no room for a chunk of logs")
            write_chain(reader.chain, chain_id)
            reader.begin = reader.at = <const uint8_t*>view.buf
            reader.end = reader.begin + view.len
            reader.has_slashes = memchr(reader.begin, 92, view.len) != NULL
            reader.answer()
            return reader.total, reader.hits
        finally:
            PyBuffer_Release(&view)

    cdef int match_chunk(
        self, list shapes, const Event* events, uint32_t count, const uint8_t* begin, list hits
    ) except -1:
        """Look a chunk of logs up: all hashes of a shape first, so that their buckets arrive together."""
        cdef uint8_t keys[CHUNK][LONGEST]
        cdef uint64_t hashes[CHUNK]
        cdef uint32_t patterns[CHUNK][LOG_SHAPES]
        cdef bint hit[CHUNK]
        cdef uint32_t number, shape, needed, at, column = 0
        cdef Table* table
        memset(hit, 0, sizeof(hit))
        for shape in shapes:
            table = &self.tables[shape]
            needed = 4 if shape & 16 else 3 if shape & 8 else 2 if shape & 4 else 1 if shape & 2 else 0
            for number in range(count):
                if events[number].topics >= needed:
                    key_of(shape, events[number].key, keys[number])
                    hashes[number] = hash_bytes(keys[number], table.width, self.seed)
                    b3_prefetch(&table.buckets[hashes[number] & (table.size - 1)])
            for number in range(count):
                patterns[number][column] = NONE
                if events[number].topics >= needed:
                    patterns[number][column] = find(table, keys[number], hashes[number])
                    hit[number] |= patterns[number][column] != NONE
            column += 1
        for number in range(count):
            if not hit[number]:
                continue
            found = set()
            for at in range(column):
                found.update(self.slots_of(shapes[at], patterns[number][at]))
            start, end = events[number].start - begin, events[number].end - begin
            hits += [(slot, start, end) for slot in sorted(found)]
        return 0


cdef inline bint is_of_chain(const uint8_t* packed) noexcept nogil:
    return packed[1] >= 8 and (0 < packed[0] <= TRANSFER_KINDS or REVERT_KIND <= packed[0] <= BLOCK_KIND)


cdef inline uint64_t key_number(const uint8_t* packed, int begin) noexcept nogil:
    """Read eight bytes of a key, big-endian."""
    cdef uint64_t number = 0
    cdef int at
    for at in range(8):
        number = number << 8 | packed[2 + begin + at]
    return number


cdef int add_up(dict counts, object key, int by) except -1:
    """Count, and keep nothing of what is not there."""
    left = counts.get(key, 0) + by
    if left:
        counts[key] = left
    else:
        del counts[key]
    return 0


cdef int check_slot(object slot) except -1:
    if not 0 <= slot < 1 << 31:
        raise ValueError(f"a slot is between 0 and 2**31 - 1, not {slot}")
    return 0


cdef int write_chain(uint8_t* out, object chain_id) except -1:
    cdef uint64_t chain
    if not 0 < chain_id < 1 << 63:
        raise ValueError(f"a chain id is between 1 and 2**63 - 1, not {chain_id}")
    chain = chain_id
    memcpy(out, &chain, 8)
    return 0


cdef int copy_field(uint8_t* out, bytes value, uint32_t size, str what) except -1:
    if len(value) != size:
        raise ValueError(f"{what} has {size} bytes, not {len(value)}")
    memcpy(out, <const uint8_t*>value, size)
    return 0


cdef int pack_key(uint8_t* out, object kind, bytes key) except -1:
    if not 0 <= kind < 256:
        raise ValueError(f"a kind is between 0 and 255, not {kind}")
    if len(key) > KEY_LIMIT:
        raise ValueError(f"a key has at most {KEY_LIMIT} bytes, not {len(key)}")
    memset(out, 0, KEY_BYTES)
    out[0] = kind
    out[1] = len(key)
    memcpy(out + 2, <const uint8_t*>key, len(key))
    return 0


include "log_reader.pxi"
include "pattern_reader.pxi"
