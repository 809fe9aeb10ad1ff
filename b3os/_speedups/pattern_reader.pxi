# Compiled patterns (b3os/detect/patterns.py writes them): (slot, size, pattern) one after the other, into the index.
#
# A pattern: version (1 or 2: they differ in what is not for the index), kind. A log (kind 1): chain u64, number of
# topics, each a length and that many bytes (shorter ones are padded with zeros on the left, 255 binds nothing), number
# of addresses u16, the addresses. An exact key (kind 2): its kind, length, bytes. Numbers are little-endian. What
# follows is not for the index.

cdef enum:
    LAST_VERSION = 2
    LOG_PATTERN = 1
    KEY_PATTERN = 2
    ANY_TOPIC = 255


cdef struct LogPattern:
    uint8_t full[LONGEST]
    uint32_t shape
    const uint8_t* addresses
    uint32_t count


cdef list put_packed(TriggerIndex index, const uint8_t* at, const uint8_t* end):
    cdef list refused = []
    cdef uint32_t slot, size
    while at < end:
        if end - at < 8:
            raise ValueError("packed patterns end inside a head")
        memcpy(&slot, at, 4)
        memcpy(&size, at + 4, 4)
        at += 8
        if end - at < size:
            raise ValueError("packed patterns end inside a pattern")
        check_slot(slot)
        index.drop_slot(slot)
        if not put_pattern(index, slot, at, at + size):
            refused.append(slot)
        at += size
    return refused


cdef bint put_pattern(TriggerIndex index, uint32_t slot, const uint8_t* at, const uint8_t* end) except -1:
    """Add a pattern to a slot that has none; False, and nothing is added, when it cannot be read."""
    cdef LogPattern found
    cdef uint8_t packed[KEY_BYTES]
    cdef uint8_t key[LONGEST]
    cdef uint32_t number
    if end - at < 2 or not 1 <= at[0] <= LAST_VERSION:
        return False
    if at[1] == KEY_PATTERN:
        if end - at < 4 or at[3] > KEY_LIMIT or end - at < 4 + at[3]:
            return False
        memset(packed, 0, KEY_BYTES)
        memcpy(packed, at + 2, 2 + at[3])
        index.add_key(slot, packed)
        return True
    if at[1] != LOG_PATTERN or not read_log_pattern(at + 2, end, &found):
        return False
    for number in range(max(found.count, 1)):
        if found.count:
            memcpy(found.full + 8, found.addresses + 20 * number, 20)
        key_of(found.shape, found.full, key)
        index.add_log(slot, found.shape, key)
    return True


cdef bint read_log_pattern(const uint8_t* at, const uint8_t* end, LogPattern* found) noexcept nogil:
    cdef uint64_t chain
    cdef uint32_t topics, number, size
    if end - at < 9:
        return False
    memcpy(&chain, at, 8)
    topics = at[8]
    at += 9
    if not 0 < chain < (<uint64_t>1 << 63) or topics > 4:
        return False
    memcpy(found.full, &chain, 8)
    found.shape = 0
    for number in range(topics):
        if end - at < 1:
            return False
        size = at[0]
        at += 1
        if size == ANY_TOPIC:
            continue
        if size > 32 or end - at < size:
            return False
        memset(found.full + 28 + 32 * number, 0, 32 - size)
        memcpy(found.full + 28 + 32 * number + 32 - size, at, size)
        found.shape |= 2 << number
        at += size
    if end - at < 2:
        return False
    found.count = at[0] | <uint32_t>at[1] << 8
    found.addresses = at + 2
    found.shape |= 1 if found.count else 0
    return end - at - 2 >= 20 * found.count
