"""When schedules fire: cron fields as bitmaps, periods, precomputed windows; and a heap of next slots in C memory.

A `Zone` has the offsets of a time zone as sorted arrays. A `Schedule` answers "first slot after": by bits for cron, by
arithmetic for a period, out of a window of slots that the caller computed for anything else. A `Timetable` holds
numbers chosen by the caller, each with a schedule, in a binary heap; equal schedules are one object, so that a minute
boundary computes each next slot once.

Daylight saving. A schedule of certain hours goes by the clock on the wall: a slot inside the spring gap fires at the
end of the gap, one inside the autumn overlap fires the first time only. A schedule of every hour goes by real time:
nothing is made up in the gap and nothing left out in the overlap.

Times are unix seconds. Those before 1970-01-03 count as that, and there are none after 2199.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

cdef extern from *:
    """
    #define b3_lowest(bits) __builtin_ctzll(bits)
    """
    int b3_lowest(uint64_t) nogil

cdef enum:
    FIRST_S = 172800  # local times of any zone are not negative from here on
    SLOT_LIMIT = 1 << 28
    REFILL_AT = 28  # slots left in a window when the next window is asked for

cdef int64_t NEVER = INT64_MAX
cdef int64_t UNKNOWN = INT64_MIN  # the window does not reach there
cdef int64_t END_S = 7258118400  # 2200-01-01
cdef uint32_t OUTSIDE = 0xFFFFFFFF

#: What becomes of slots that were missed: none of them, the newest, or up to MISSED_LIMIT of the newest.
SKIP, ONCE, ALL = 0, 1, 2
MISSED_LIMIT = 100
#: A slot that is fired later than this was missed.
LATE_S = 60
#: Slots in a window; more than MISSED_LIMIT, so that catching up moves on.
WINDOW = 128

include "cron_calendar.pxi"


@cython.final
cdef class Zone:
    """Offsets from UTC: `offsets[i]` holds from `starts[i]` on; the first start is the beginning of time."""

    cdef int64_t* starts
    cdef int64_t* passed  # the local time that clocks had reached before this start: until then it is a repetition
    cdef int32_t* offsets
    cdef Py_ssize_t count

    def __cinit__(self, starts, offsets):
        self.count = len(offsets)
        if self.count == 0 or len(starts) != self.count or any(abs(offset) >= DAY_S for offset in offsets):
            raise ValueError("a zone has as many starts as offsets, at least one, each shorter than a day")
        if any(later <= start for start, later in zip(starts, starts[1:])):
            raise ValueError("the starts of a zone ascend")
        self.starts = <int64_t*>malloc((self.count + 1) * sizeof(int64_t))
        self.passed = <int64_t*>malloc(self.count * sizeof(int64_t))
        self.offsets = <int32_t*>malloc(self.count * sizeof(int32_t))
        if self.starts == NULL or self.passed == NULL or self.offsets == NULL:
            raise MemoryError
        cdef int64_t reached = 0
        for i in range(self.count):
            self.starts[i] = starts[i] if i else 0
            self.offsets[i] = offsets[i]
            if i:
                reached = max(reached, self.starts[i] + self.offsets[i - 1])
            self.passed[i] = reached
        self.starts[self.count] = END_S

    def __dealloc__(self):
        free(self.starts)
        free(self.passed)
        free(self.offsets)

    cdef Py_ssize_t find(self, int64_t time) noexcept:
        cdef Py_ssize_t low = 0, high = self.count, middle
        while high - low > 1:
            middle = (low + high) >> 1
            if self.starts[middle] <= time:
                low = middle
            else:
                high = middle
        return low


cdef enum Kind:
    CRON
    PERIOD
    COMPUTED


@cython.final
cdef class Schedule:
    """When something fires. Made by `cron`, `period` and `computed`; equal ones should be one object."""

    cdef Kind kind
    cdef Fields fields
    cdef Zone zone
    cdef int64_t start
    cdef int64_t every
    cdef int64_t* window  # COMPUTED: ascending, all slots after `begin`
    cdef Py_ssize_t count
    cdef int64_t begin
    cdef bint is_final  # nothing follows the window
    cdef bint is_low
    # Slots of one tick ask the same questions of a shared schedule.
    cdef int64_t asked_after
    cdef int64_t answer
    cdef int64_t asked_now
    cdef int64_t newest
    cdef object __weakref__
    #: What computes the windows of a COMPUTED schedule; None for the others.
    cdef readonly object rule

    def __cinit__(self):
        self.asked_after = self.asked_now = self.begin = UNKNOWN

    def __dealloc__(self):
        free(self.window)

    def next_after(self, after):
        """Return the first slot after a time, or None; raises LookupError when the window does not reach there."""
        cdef int64_t found = self.following(clamped(after))
        if found == UNKNOWN:
            raise LookupError("the window of this schedule does not reach there: fill it")
        return None if found == NEVER else found

    cdef int64_t following(self, int64_t after):
        if self.kind == PERIOD:
            if after >= self.start:
                after = self.start + ((after - self.start) // self.every + 1) * self.every
            else:
                after = self.start
            return after if after < END_S else NEVER
        if self.asked_after != after:
            self.answer = self.cron_after(after) if self.kind == CRON else self.in_window(after)
            self.asked_after = after
        return self.answer

    cdef int64_t cron_after(self, int64_t after) noexcept:
        cdef Zone zone = self.zone
        cdef Py_ssize_t i = zone.find(after)
        cdef int64_t low = after + 1 + zone.offsets[i], found, reached
        if not self.fields.is_hourly and low < zone.passed[i]:
            low = zone.passed[i]
        found = next_local(&self.fields, low)
        while found != NEVER and found - zone.offsets[i] >= zone.starts[i + 1]:
            reached = zone.starts[i + 1] + zone.offsets[i]
            i += 1
            if i == zone.count:
                return NEVER
            low = zone.starts[i] + zone.offsets[i] if self.fields.is_hourly else zone.passed[i]
            if low < reached or found < low:
                found = next_local(&self.fields, low)
            if found != NEVER and found - zone.offsets[i] < zone.starts[i]:
                return zone.starts[i]  # inside the gap
        return NEVER if found == NEVER else found - zone.offsets[i]

    cdef int64_t in_window(self, int64_t after) noexcept:
        cdef Py_ssize_t low = 0, high = self.count, middle
        if after < self.begin or self.begin == UNKNOWN:
            return UNKNOWN
        while low < high:
            middle = (low + high) >> 1
            if self.window[middle] <= after:
                low = middle + 1
            else:
                high = middle
        self.is_low = not self.is_final and self.count - low < REFILL_AT
        if low == self.count:
            return NEVER if self.is_final else UNKNOWN
        return self.window[low]

    cdef int64_t oldest_kept(self, int64_t slot, int64_t now, int keep):
        """The first of the newest `keep` slots up to now, of which `slot` is due.

        UNKNOWN when the window ends before now; `newest` then has the first of those that may count.
        """
        cdef int64_t after = slot - 1, back = 1, found
        cdef int count
        while self.kind != COMPUTED and now - back > slot:
            count, found = 0, now - back
            while count < keep:
                found = self.following(found)
                if found > now:
                    break
                count += 1
            if count == keep:
                after = now - back
                break
            back *= 4
        count = 1
        cdef int64_t first = self.following(after), last
        if first == UNKNOWN:  # the window of a shared schedule has gone on
            first = slot
        last = first
        while True:
            last = self.following(last)
            if last == UNKNOWN:
                self.newest, self.asked_now = first, UNKNOWN
                return UNKNOWN
            if last > now:
                return first
            count += 1
            if count > keep:
                first = last if keep == 1 else self.following(first)

    cdef void fill(self, int64_t after, list times, bint is_final) except *:
        cdef int64_t before = after
        for time in times:
            if time <= before:
                raise ValueError("a window ascends, and begins after its time")
            before = time
        if not times and not is_final:
            raise ValueError("an empty window is final")
        cdef int64_t* room = <int64_t*>realloc(self.window, max(1, len(times)) * sizeof(int64_t))
        if room == NULL:
            raise MemoryError
        self.window = room
        self.count = len(times)
        for i in range(self.count):
            self.window[i] = times[i]
        self.begin, self.is_final = after, is_final
        self.is_low = False
        self.asked_after = self.asked_now = UNKNOWN


def cron(
    *, seconds, minutes, hours, days, near_days, has_last_day, months, weekdays, last_weekdays, is_either,
    Zone zone not None,
):
    """Make a schedule of bitmaps (see `Fields`); returns None when it never fires."""
    cdef Schedule made = Schedule.__new__(Schedule)
    made.kind, made.zone = CRON, zone
    made.fields.seconds, made.fields.minutes, made.fields.hours = seconds, minutes, hours
    made.fields.days, made.fields.near_days, made.fields.has_last_day = days, near_days, has_last_day
    made.fields.months, made.fields.weekdays, made.fields.last_weekdays = months, weekdays, last_weekdays
    made.fields.is_either, made.fields.is_hourly = is_either, hours == (1 << 24) - 1
    limits = (
        (seconds, 60), (minutes, 60), (hours, 24), (days, 32), (near_days, 32), (months, 13), (weekdays, 35),
        (last_weekdays, 7),
    )
    if any(bits >> width for bits, width in limits) or not (seconds and minutes and hours):
        raise ValueError("the bits of a field are out of its range")
    return None if next_local(&made.fields, 946684800) == NEVER else made


def period(start, every):
    """Make a schedule that fires at a time and at a period from then on."""
    cdef Schedule made = Schedule.__new__(Schedule)
    if not 0 < every <= END_S or not -END_S <= start <= END_S:
        raise ValueError("a period is positive, and begins before the year 2200")
    made.kind, made.start, made.every = PERIOD, start, every
    return made


def computed(rule):
    """Make a schedule whose slots come in windows that `rule` computes elsewhere."""
    cdef Schedule made = Schedule.__new__(Schedule)
    made.kind, made.rule = COMPUTED, rule
    return made


cdef int64_t clamped(object time):
    return max(FIRST_S, min(time, END_S))


cdef struct Entry:
    PyObject* schedule  # owned; NULL when the slot is free
    int64_t since  # no slot at or before it
    uint32_t place  # in the heap, or OUTSIDE
    uint8_t missed


cdef struct Node:
    int64_t time
    uint32_t slot


include "cron_timetable.pxi"
