# One table of patterns of equal width: open addressing over their bytes, no tombstones, numbers used again.


cdef struct Table:
    uint32_t* buckets  # pattern + 1; 0 is empty
    uint64_t size  # a power of two, or 0
    uint8_t* keys
    uint64_t* hashes
    uint32_t* heads  # first node of a pattern; a free pattern's next free one
    uint32_t count  # patterns that are or were in use
    uint32_t room
    uint32_t free_head
    uint32_t live
    uint32_t width


cdef inline uint64_t hash_bytes(const uint8_t* data, uint32_t size, uint64_t seed) noexcept nogil:
    """Hash `size` bytes, in words of eight; multiplication and folding as in wyhash (public domain)."""
    cdef uint64_t state = seed ^ 0x9E3779B97F4A7C15u, word, other
    cdef uint32_t at = 0
    while at + 16 <= size:
        memcpy(&word, data + at, 8)
        memcpy(&other, data + at + 8, 8)
        state = b3_mix(word ^ 0xA0761D6478BD642Fu, other ^ state)
        at += 16
    word = 0
    other = 0
    if size - at > 8:
        memcpy(&word, data + at, 8)
        memcpy(&other, data + at + 8, size - at - 8)
    else:
        memcpy(&word, data + at, size - at)
    return b3_mix(word ^ 0xE7037ED1A0B428DBu, b3_mix(other ^ state, size ^ 0x8EBC6AF09C88C6E3u))


cdef void* grown(void* old, size_t size) except NULL:
    cdef void* found = realloc(old, size)
    if found == NULL:
        raise MemoryError("the trigger index cannot grow")
    return found


cdef void grow_buckets(Table* table) except *:
    cdef uint64_t size = table.size * 2 if table.size else 64
    cdef uint32_t* fresh = <uint32_t*>calloc(size, sizeof(uint32_t))
    cdef uint64_t at, old
    cdef uint32_t held
    if fresh == NULL:
        raise MemoryError("the trigger index cannot grow")
    for old in range(table.size):
        held = table.buckets[old]
        if held:
            at = table.hashes[held - 1] & (size - 1)
            while fresh[at]:
                at = (at + 1) & (size - 1)
            fresh[at] = held
    free(table.buckets)
    table.buckets = fresh
    table.size = size


cdef inline uint32_t find(const Table* table, const uint8_t* key, uint64_t hashed) noexcept nogil:
    cdef uint64_t at
    cdef uint32_t held
    if not table.size:
        return NONE
    at = hashed & (table.size - 1)
    while True:
        held = table.buckets[at]
        if not held:
            return NONE
        if table.hashes[held - 1] == hashed and not memcmp(
            table.keys + <size_t>(held - 1) * table.width, key, table.width
        ):
            return held - 1
        at = (at + 1) & (table.size - 1)


cdef uint32_t find_or_add(Table* table, const uint8_t* key, uint64_t hashed) except? 0xFFFFFFFF:
    cdef uint32_t found = find(table, key, hashed)
    cdef uint64_t at
    cdef uint32_t room
    if found != NONE:
        return found
    if (table.live + 1) * 4 > table.size * 3:
        grow_buckets(table)
    if table.free_head == NONE and table.count == table.room:
        room = table.room + (table.room >> 2) + 64
        table.keys = <uint8_t*>grown(table.keys, <size_t>room * table.width)
        table.hashes = <uint64_t*>grown(table.hashes, <size_t>room * sizeof(uint64_t))
        table.heads = <uint32_t*>grown(table.heads, <size_t>room * sizeof(uint32_t))
        table.room = room
    if table.free_head != NONE:
        found = table.free_head
        table.free_head = table.heads[found]
    else:
        found = table.count
        table.count += 1
    memcpy(table.keys + <size_t>found * table.width, key, table.width)
    table.hashes[found] = hashed
    table.heads[found] = NONE
    table.live += 1
    at = hashed & (table.size - 1)
    while table.buckets[at]:
        at = (at + 1) & (table.size - 1)
    table.buckets[at] = found + 1
    return found


cdef void remove(Table* table, uint32_t pattern) noexcept nogil:
    """Take a pattern out; later entries of its cluster move back, so that no tombstone is left."""
    cdef uint64_t mask = table.size - 1
    cdef uint64_t hole = table.hashes[pattern] & mask, at, home
    while table.buckets[hole] != pattern + 1:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        if not table.buckets[at]:
            break
        home = table.hashes[table.buckets[at] - 1] & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table.buckets[hole] = table.buckets[at]
            hole = at
    table.buckets[hole] = 0
    table.heads[pattern] = table.free_head
    table.free_head = pattern
    table.live -= 1
