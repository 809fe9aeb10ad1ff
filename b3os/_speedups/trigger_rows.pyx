"""The triggers that a master holds, in C memory: one block of bytes for each, found by slot or by name.

Rows arrive as PostgreSQL writes them, `record_send` of ten columns one after the other, and a row that says what is
held already changes nothing. Nothing becomes a Python object until somebody asks for a slot. A slot stays a trigger's
own for as long as it is held; one that was freed is used again by a later batch, never by the same.

A row brings its compiled pattern, or its payload where it has none. The pattern is read by the trigger index, not here.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint32_t b3_be32(const uint8_t* p) {
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    """
    uint32_t b3_be32(const uint8_t*) nogil

cdef enum:
    ORG, WORKFLOW, NODE, TYPE, VERSION, SINCE, ACTIVE, PATTERN, PAYLOAD, WAIT, FIELDS

cdef uint32_t NONE = 0xFFFFFFFF


cdef struct Part:
    const uint8_t* at
    int32_t size  # -1 is null


cdef struct Held:
    int64_t since  # microseconds since 2000, as PostgreSQL counts
    uint32_t version
    uint32_t type
    uint32_t org
    uint32_t workflow
    uint32_t node
    uint32_t data  # bytes of the pattern, or of the payload
    uint32_t wait  # bytes that say which waiting node an event completes; 0: an event begins a run
    bint compiled  # data is a pattern


cdef inline uint8_t* text_of(Held* held) noexcept nogil:
    """Organization, workflow, node, data and wait, one after the other, behind the head."""
    return <uint8_t*>held + sizeof(Held)


cdef inline size_t name_size(const Held* held) noexcept nogil:
    return <size_t>held.org + held.workflow + held.node


cdef inline uint64_t hash_name(const Part* parts) noexcept nogil:
    """FNV-1a over the three names, with their ends told apart."""
    cdef uint64_t state = 0xCBF29CE484222325u
    cdef int part
    cdef int32_t at
    for part in range(ORG, NODE + 1):
        for at in range(parts[part].size):
            state = (state ^ parts[part].at[at]) * 0x100000001B3u
        state = (state ^ 0x1FF) * 0x100000001B3u
    return state ^ (state >> 32)


cdef void* grown(void* old, size_t size) except NULL:
    cdef void* found = realloc(old, size)
    if found == NULL:
        raise MemoryError("the held triggers cannot grow")
    return found


cdef class Changes:
    """What a batch changed. `drops` and `puts` are slots by type; `patterns` is (slot, size, pattern) one after the
    other, ready for TriggerIndex.put_patterns. A slot is in `puts` when its row has no pattern; `slots` are all that
    changed. Drops come first."""

    cdef readonly dict drops
    cdef readonly dict puts
    cdef readonly bytearray patterns
    cdef readonly list slots

    def __cinit__(self):
        self.drops = {}
        self.puts = {}
        self.patterns = bytearray()
        self.slots = []


@cython.final
cdef class TriggerRows:
    """Rows by slot. `marks` say which slots a cross-check has met."""

    cdef Held** rows
    cdef uint64_t* hashes
    cdef uint8_t* marks
    cdef uint32_t* buckets  # slot + 1; 0 is empty
    cdef uint64_t size  # of buckets: a power of two, or 0
    cdef uint32_t count  # slots that are or were in use
    cdef uint32_t room
    cdef uint32_t held
    cdef size_t bytes
    cdef list free  # slots to use again
    cdef list freed  # by this batch: to use again from the next one on
    cdef list types  # names by number
    cdef dict numbers  # type -> number
    cdef list totals  # rows held by type number

    def __cinit__(self):
        self.free = []
        self.freed = []
        self.types = []
        self.numbers = {}
        self.totals = []

    def __dealloc__(self):
        cdef uint32_t slot
        for slot in range(self.count):
            free(self.rows[slot])
        free(self.rows)
        free(self.hashes)
        free(self.marks)
        free(self.buckets)

    def __len__(self):
        return self.held

    def memory(self):
        """Bytes that are held in C, without the allocator's own."""
        return self.bytes + <size_t>self.room * (sizeof(void*) + 9) + self.size * 4

    def sizes(self):
        """Return how many rows are held by type."""
        return {name: total for name, total in zip(self.types, self.totals) if total}

    def apply(self, records):
        """Take rows as PostgreSQL sends them, each trigger at most once; returns the Changes.

        ValueError for bytes that are no rows; those before stay applied, as taking the batch again changes nothing.
        """
        cdef Py_buffer view
        cdef Part parts[FIELDS]
        cdef const uint8_t* at
        cdef const uint8_t* end
        cdef Changes changes = Changes()
        self.free += self.freed
        self.freed.clear()
        PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
        try:
            at = <const uint8_t*>view.buf
            end = at + view.len
            while at < end:
                at = read_record(at, end, parts)
                if at == NULL:
                    raise ValueError("the bytes are no trigger rows as record_send writes them")
                self.take(parts, changes)
        finally:
            PyBuffer_Release(&view)
        return changes

    cdef int take(self, const Part* parts, Changes changes) except -1:
        cdef uint64_t hashed = hash_name(parts)
        cdef uint32_t slot = self.find(parts, hashed), type_
        cdef const Part* data = &parts[PATTERN]
        cdef Held* fresh
        if not parts[ACTIVE].at[0]:
            if slot != NONE:
                self.release(slot, changes)
            return 0
        if data.size <= 0:
            data = &parts[PAYLOAD]
        type_ = self.number_of(parts)
        if slot != NONE:
            self.marks[slot] = 1
            if says_the_same(self.rows[slot], parts, data, type_):
                return 0
        fresh = make_row(parts, data, type_)
        if slot == NONE:
            try:
                slot = self.new_slot(hashed)
            except:
                free(fresh)
                raise
        else:
            if self.rows[slot].type != type_:
                self.note(changes.drops, self.rows[slot].type, slot)
            self.totals[self.rows[slot].type] -= 1
            self.bytes -= row_size(self.rows[slot])
            free(self.rows[slot])
        self.rows[slot] = fresh
        self.totals[type_] += 1
        self.bytes += row_size(fresh)
        changes.slots.append(slot)
        if fresh.compiled:
            append_pattern(changes.patterns, slot, data)
        else:
            self.note(changes.puts, type_, slot)
        return 0

    cdef int note(self, dict found, uint32_t type_, uint32_t slot) except -1:
        cdef list slots = found.get(self.types[type_])
        if slots is None:
            slots = found[self.types[type_]] = []
        slots.append(slot)
        return 0

    cdef uint32_t number_of(self, const Part* parts) except? 0xFFFFFFFF:
        name = PyBytes_FromStringAndSize(<const char*>parts[TYPE].at, parts[TYPE].size)
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.types)
            self.types.append(name.decode("utf-8", "replace"))
            self.totals.append(0)
        return number

    cdef uint32_t find(self, const Part* parts, uint64_t hashed) noexcept nogil:
        cdef uint64_t at
        cdef uint32_t slot
        if not self.size:
            return NONE
        at = hashed & (self.size - 1)
        while self.buckets[at]:
            slot = self.buckets[at] - 1
            if self.hashes[slot] == hashed and has_name(self.rows[slot], parts):
                return slot
            at = (at + 1) & (self.size - 1)
        return NONE

    cdef uint32_t new_slot(self, uint64_t hashed) except? 0xFFFFFFFF:
        """Reserve a slot and put it into the table; the caller sets its row."""
        cdef uint32_t slot
        cdef uint64_t at
        if (<uint64_t>self.held + 1) * 4 > self.size * 3:
            self.grow_buckets()
        if self.free:
            slot = self.free.pop()
        else:
            if self.count == self.room:
                self.grow_rows()
            slot = self.count
            self.count += 1
        self.hashes[slot] = hashed
        self.marks[slot] = 1
        self.rows[slot] = NULL
        at = hashed & (self.size - 1)
        while self.buckets[at]:
            at = (at + 1) & (self.size - 1)
        self.buckets[at] = slot + 1
        self.held += 1
        return slot

    cdef int grow_rows(self) except -1:
        cdef uint32_t room = self.room + (self.room >> 2) + 64
        self.rows = <Held**>grown(self.rows, <size_t>room * sizeof(void*))
        self.hashes = <uint64_t*>grown(self.hashes, <size_t>room * sizeof(uint64_t))
        self.marks = <uint8_t*>grown(self.marks, room)
        self.room = room
        return 0

    cdef int grow_buckets(self) except -1:
        cdef uint64_t size = self.size * 2 if self.size else 64
        cdef uint32_t* fresh = <uint32_t*>calloc(size, sizeof(uint32_t))
        cdef uint64_t old, at
        if fresh == NULL:
            raise MemoryError("the held triggers cannot grow")
        for old in range(self.size):
            if self.buckets[old]:
                at = self.hashes[self.buckets[old] - 1] & (size - 1)
                while fresh[at]:
                    at = (at + 1) & (size - 1)
                fresh[at] = self.buckets[old]
        free(self.buckets)
        self.buckets = fresh
        self.size = size
        return 0

    cdef int release(self, uint32_t slot, Changes changes) except -1:
        """Forget a row; later entries of its cluster move back, so that no tombstone is left."""
        cdef uint64_t mask = self.size - 1
        cdef uint64_t hole = self.hashes[slot] & mask, at, home
        self.note(changes.drops, self.rows[slot].type, slot)
        self.freed.append(slot)
        changes.slots.append(slot)
        while self.buckets[hole] != slot + 1:
            hole = (hole + 1) & mask
        at = hole
        while True:
            at = (at + 1) & mask
            if not self.buckets[at]:
                break
            home = self.hashes[self.buckets[at] - 1] & mask
            if ((at - home) & mask) >= ((at - hole) & mask):
                self.buckets[hole] = self.buckets[at]
                hole = at
        self.buckets[hole] = 0
        self.totals[self.rows[slot].type] -= 1
        self.bytes -= row_size(self.rows[slot])
        free(self.rows[slot])
        self.rows[slot] = NULL
        self.held -= 1
        return 0

    def get(self, slot):
        """Return (organization, workflow, node, type, version, active since in ms since 1970, pattern or None,
        payload's JSON or None, wait or None) of a slot, or None when it is free."""
        cdef Held* held
        cdef const char* text
        if not 0 <= slot < self.count:
            return None
        held = self.rows[<uint32_t>slot]
        if held == NULL:
            return None
        text = <const char*>text_of(held)
        data = PyBytes_FromStringAndSize(text + name_size(held), held.data)
        return (
            PyBytes_FromStringAndSize(text, held.org).decode("utf-8", "replace"),
            PyBytes_FromStringAndSize(text + held.org, held.workflow).decode("utf-8", "replace"),
            PyBytes_FromStringAndSize(text + held.org + held.workflow, held.node).decode("utf-8", "replace"),
            self.types[held.type],
            held.version,
            held.since // 1000 + 946684800000,
            data if held.compiled else None,
            None if held.compiled else data,
            PyBytes_FromStringAndSize(text + name_size(held) + held.data, held.wait) if held.wait else None,
        )

    def since(self, slot):
        """Return since when a slot's trigger is active, in ms since 1970; None for a free slot."""
        if not 0 <= slot < self.count or self.rows[<uint32_t>slot] == NULL:
            return None
        return self.rows[<uint32_t>slot].since // 1000 + 946684800000

    def slot_of(self, org, workflow, node):
        """Return the slot of a trigger, or None."""
        cdef Part parts[3]
        cdef list names = [org.encode(), workflow.encode(), node.encode()]
        cdef bytes name
        cdef int number
        for number in range(3):
            name = names[number]
            parts[number].at = <const uint8_t*>name
            parts[number].size = <int32_t>len(name)
        found = self.find(parts, hash_name(parts))
        return None if found == NONE else found

    def clear_marks(self):
        """Begin a cross-check: from now on a slot is marked when a batch brings it."""
        if self.count:
            memset(self.marks, 0, self.count)

    def unmarked(self, limit):
        """Return held slots that no batch brought since clear_marks, at most `limit`."""
        cdef uint32_t slot
        cdef list found = []
        for slot in range(self.count):
            if self.rows[slot] != NULL and not self.marks[slot]:
                found.append(slot)
                if len(found) >= limit:
                    break
        return found

    def drop(self, slots):
        """Forget slots; returns the Changes."""
        cdef Changes changes = Changes()
        for slot in slots:
            if 0 <= slot < self.count and self.rows[<uint32_t>slot] != NULL:
                self.release(slot, changes)
        return changes


cdef const uint8_t* read_record(const uint8_t* at, const uint8_t* end, Part* parts) noexcept nogil:
    """Read one record; returns where the next begins, or NULL. Columns after those we know are passed over."""
    cdef uint32_t columns, column, size
    if end - at < 4:
        return NULL
    columns = b3_be32(at)
    at += 4
    if columns < FIELDS or columns > 64:
        return NULL
    for column in range(columns):
        if end - at < 8:
            return NULL
        size = b3_be32(at + 4)  # the four bytes before are the type's oid
        at += 8
        if column < FIELDS:
            parts[column].at = at
            parts[column].size = -1 if size == NONE else <int32_t>size
        if size != NONE:
            if size > 0x3FFFFFFF or end - at < size:
                return NULL
            at += size
    if parts[VERSION].size != 4 or parts[SINCE].size != 8 or parts[ACTIVE].size != 1:
        return NULL
    if parts[ORG].size < 0 or parts[WORKFLOW].size < 0 or parts[NODE].size < 0 or parts[TYPE].size < 0:
        return NULL
    if parts[PATTERN].size <= 0 and parts[PAYLOAD].size > 0:  # jsonb begins with its version
        parts[PAYLOAD].at += 1
        parts[PAYLOAD].size -= 1
    return at


cdef inline int64_t since_of(const Part* parts) noexcept nogil:
    cdef const uint8_t* at = parts[SINCE].at
    return <int64_t>(<uint64_t>b3_be32(at) << 32 | b3_be32(at + 4))


cdef inline bint has_name(Held* held, const Part* parts) noexcept nogil:
    cdef const uint8_t* text = text_of(held)
    return (
        held.org == <uint32_t>parts[ORG].size
        and held.workflow == <uint32_t>parts[WORKFLOW].size
        and held.node == <uint32_t>parts[NODE].size
        and not memcmp(text, parts[ORG].at, held.org)
        and not memcmp(text + held.org, parts[WORKFLOW].at, held.workflow)
        and not memcmp(text + held.org + held.workflow, parts[NODE].at, held.node)
    )


cdef inline bint says_the_same(Held* held, const Part* parts, const Part* data, uint32_t type_) noexcept nogil:
    return (
        held.type == type_
        and held.version == b3_be32(parts[VERSION].at)
        and held.since == since_of(parts)
        and held.compiled == (data == &parts[PATTERN])
        and held.data == <uint32_t>max(data.size, 0)
        and held.wait == <uint32_t>max(parts[WAIT].size, 0)
        and not memcmp(text_of(held) + name_size(held), data.at, held.data)
        and not memcmp(text_of(held) + name_size(held) + held.data, parts[WAIT].at, held.wait)
    )


cdef Held* make_row(const Part* parts, const Part* data, uint32_t type_) except NULL:
    cdef uint32_t size = max(data.size, 0), wait = max(parts[WAIT].size, 0)
    cdef size_t name = <size_t>parts[ORG].size + parts[WORKFLOW].size + parts[NODE].size
    cdef Held* held = <Held*>malloc(sizeof(Held) + name + size + wait)
    cdef uint8_t* text
    if held == NULL:
        raise MemoryError("the held triggers cannot grow")
    held.since = since_of(parts)
    held.version = b3_be32(parts[VERSION].at)
    held.type = type_
    held.org = parts[ORG].size
    held.workflow = parts[WORKFLOW].size
    held.node = parts[NODE].size
    held.data = size
    held.wait = wait
    held.compiled = data == &parts[PATTERN]
    text = text_of(held)
    memcpy(text, parts[ORG].at, held.org)
    memcpy(text + held.org, parts[WORKFLOW].at, held.workflow)
    memcpy(text + held.org + held.workflow, parts[NODE].at, held.node)
    memcpy(text + name, data.at, size)
    memcpy(text + name + size, parts[WAIT].at, wait)
    return held


cdef inline size_t row_size(const Held* held) noexcept nogil:
    return sizeof(Held) + name_size(held) + held.data + held.wait


cdef int append_pattern(bytearray out, uint32_t slot, const Part* data) except -1:
    cdef uint32_t head[2]
    head[0] = slot
    head[1] = data.size
    out += (<const char*>head)[:8]
    out += (<const char*>data.at)[: data.size]
    return 0
