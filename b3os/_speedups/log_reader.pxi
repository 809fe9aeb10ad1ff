# Reading the logs of a JSON answer in place. Part of trigger_index.pyx: it fills chunks of events and has them matched.

cdef int8_t[256] DIGITS  # the value of a hexadecimal digit, or -1


cdef void fill_digits():
    cdef int letter
    memset(DIGITS, 0xFF, 256)
    for letter in range(10):
        DIGITS[48 + letter] = letter
    for letter in range(6):
        DIGITS[65 + letter] = DIGITS[97 + letter] = 10 + letter


fill_digits()


@cython.final
cdef class Reader:
    """A position in a JSON text, and the chunk of logs that was read so far."""

    cdef TriggerIndex index
    cdef list shapes
    cdef list hits
    cdef Event* events
    cdef uint8_t chain[8]
    cdef const uint8_t* begin
    cdef const uint8_t* at
    cdef const uint8_t* end
    cdef uint32_t filled
    cdef Py_ssize_t total
    cdef bint has_slashes  # most answers have no escape at all: their strings need no second look

    def __dealloc__(self):
        free(self.events)

    cdef int fail(self, str what) except -1:
        raise ValueError(f"{what} at byte {self.at - self.begin} of the logs")

    cdef inline int space(self) except -1:
        """Skip white space and return the next byte without taking it; fails at the end."""
        while self.at < self.end and self.at[0] in (32, 9, 10, 13):
            self.at += 1
        if self.at >= self.end:
            self.fail("the JSON ends early")
        return self.at[0]

    cdef inline int take(self, uint8_t letter) except -1:
        if self.space() != letter:
            self.fail(f"{chr(letter)!r} is missing")
        self.at += 1
        return 0

    cdef inline bint more(self, uint8_t closing, bint is_first) except -1:
        """Say whether another member follows, and take the comma before it or the closing bracket."""
        cdef int letter = self.space()
        if letter == closing:
            self.at += 1
            return False
        if not is_first:
            self.take(44)
            self.space()
        return True

    cdef inline Py_ssize_t text(self, const uint8_t** start) except -1:
        """Take a string and return the size of its raw bytes."""
        cdef const uint8_t* found
        cdef const uint8_t* slash
        self.take(34)
        start[0] = self.at
        while True:
            found = <const uint8_t*>memchr(self.at, 34, self.end - self.at)
            if found == NULL:
                self.fail("a string is not closed")
            slash = <const uint8_t*>memchr(self.at, 92, found - self.at) if self.has_slashes else NULL
            if slash == NULL:
                self.at = found + 1
                return found - start[0]
            self.at = min(slash + 2, self.end)

    cdef int skip(self) except -1:
        """Take any value."""
        cdef const uint8_t* start
        cdef int depth = 0, letter
        while True:
            letter = self.space()
            if letter == 34:
                self.text(&start)
            elif letter in (123, 91):
                self.at += 1
                depth += 1
                if depth > MAX_DEPTH:
                    self.fail("the JSON nests too deep")
                continue
            elif letter in (125, 93):
                if not depth:
                    self.fail("a value is missing")
                self.at += 1
                depth -= 1
            elif letter in (44, 58):
                if not depth:
                    self.fail("a value is missing")
                self.at += 1
                continue
            else:
                while self.at < self.end and self.at[0] not in (44, 125, 93, 32, 9, 10, 13, 58, 34):
                    self.at += 1
            if not depth:
                return 0

    cdef inline int hex_field(self, uint8_t* out, int size) except -1:
        cdef const uint8_t* start
        cdef Py_ssize_t length = self.text(&start)
        cdef int index, high, low, wrong = 0
        if length != 2 + 2 * size or start[0] != 48 or start[1] | 32 != 120:
            self.fail(f"0x and {2 * size} hexadecimal digits are expected")
        for index in range(size):
            high, low = DIGITS[start[2 + 2 * index]], DIGITS[start[3 + 2 * index]]
            wrong |= high | low
            out[index] = high << 4 | low
        if wrong < 0:
            self.fail("a hexadecimal digit is expected")
        return 0

    cdef int answer(self) except -1:
        """Read a whole answer, or a bare list of logs."""
        cdef const uint8_t* start
        cdef Py_ssize_t length
        cdef bint has_result = False, is_first = True
        if self.space() == 91:
            self.logs()
            has_result = True
        else:
            self.take(123)
            while self.more(125, is_first):
                is_first = False
                length = self.text(&start)
                self.take(58)
                if length == 6 and not memcmp(start, b"result", 6) and self.space() == 91:
                    self.logs()
                    has_result = True
                else:
                    self.skip()
        while self.at < self.end and self.at[0] in (32, 9, 10, 13):
            self.at += 1
        if self.at != self.end:
            self.fail("something follows the JSON")
        if not has_result:
            self.fail("there is no list of logs")
        return 0

    cdef int logs(self) except -1:
        cdef bint is_first = True
        self.take(91)
        while self.more(93, is_first):
            is_first = False
            self.log()
            self.total += 1
            if self.filled == CHUNK:
                self.flush()
        self.flush()
        return 0

    cdef int flush(self) except -1:
        if self.filled and self.shapes:
            self.index.match_chunk(self.shapes, self.events, self.filled, self.begin, self.hits)
        self.filled = 0
        return 0

    cdef int log(self) except -1:
        cdef Event* event = &self.events[self.filled]
        cdef const uint8_t* start
        cdef Py_ssize_t length
        cdef bint has_address = False, has_topics = False, is_first = True
        self.space()
        event.start = self.at
        event.topics = 0
        memcpy(event.key, self.chain, 8)
        self.take(123)
        while self.more(125, is_first):
            is_first = False
            length = self.text(&start)
            self.take(58)
            self.space()
            if length == 7 and not memcmp(start, b"address", 7):
                self.hex_field(event.key + 8, 20)
                has_address = True
            elif length == 6 and not memcmp(start, b"topics", 6):
                self.topics(event)
                has_topics = True
            else:
                self.skip()
        event.end = self.at
        if not has_address or not has_topics:
            self.fail("a log without address or topics ends")
        self.filled += 1
        return 0

    cdef int topics(self, Event* event) except -1:
        cdef bint is_first = True
        event.topics = 0
        if self.space() != 91:
            self.skip()  # null: a log without topics
            return 0
        self.take(91)
        while self.more(93, is_first):
            is_first = False
            if event.topics == 4:
                self.fail("a log has more than 4 topics")
            self.hex_field(event.key + 28 + 32 * event.topics, 32)
            event.topics += 1
        return 0
