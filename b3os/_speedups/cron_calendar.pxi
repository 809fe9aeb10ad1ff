# The fields of a cron expression as bits, and the walk over them in local time. Nothing here knows a time zone.

cdef struct Fields:
    uint64_t seconds
    uint64_t minutes
    uint64_t weekdays  # bit 7 * (n - 1) + weekday, Sunday 0: the n-th such weekday of a month; a plain one has all five
    uint32_t hours
    uint32_t days  # bits 1 to 31
    uint32_t near_days  # the working day nearest to these
    uint32_t months  # bits 1 to 12
    uint32_t last_weekdays  # bits 0 to 6: the last such weekday of a month
    bint has_last_day
    bint is_either  # both day fields are restricted: one of them is enough
    bint is_hourly  # every hour


cdef enum:
    DAY_S = 86400
    LAST_YEAR = 2199  # any schedule that ever fires does so within 200 years

cdef uint64_t EACH_WEEK = 0x10204081  # bits 0, 7, 14, 21 and 28
cdef int* DAYS = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


@cython.cdivision(True)
cdef inline int days_in(int64_t year, int month) noexcept nogil:
    return 29 if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else DAYS[month]


@cython.cdivision(True)
cdef inline void civil(int64_t day, int64_t* year, int* month, int* of_month) noexcept nogil:
    """Days since 1970, not negative, as year, month and day: eras of 400 years that begin in March."""
    cdef int64_t shifted = day + 719468, era = shifted // 146097, of_era = shifted - era * 146097
    cdef int64_t of_400 = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int of_year = <int>(of_era - (365 * of_400 + of_400 // 4 - of_400 // 100))
    cdef int from_march = (5 * of_year + 2) // 153
    of_month[0] = of_year - (153 * from_march + 2) // 5 + 1
    month[0] = from_march + 3 if from_march < 10 else from_march - 9
    year[0] = of_400 + era * 400 + (month[0] <= 2)


cdef inline uint64_t turned(uint64_t weeks, int by) noexcept nogil:
    """Turn each of five weeks of 7 bits down by a number of bits: from weekdays to days of a month."""
    cdef uint64_t low = EACH_WEEK * (<uint64_t>(0x7F >> by))
    return (weeks >> by) & low | (weeks << (7 - by)) & (EACH_WEEK * 0x7F & ~low)


@cython.cdivision(True)
cdef uint64_t days_of(const Fields* f, int64_t year, int month, int64_t first_day) noexcept nogil:
    """The days of a month that match, as bits 1 to 31."""
    cdef int length = days_in(year, month), first = <int>((first_day + 4) % 7), day, weekday
    cdef uint64_t whole = ((<uint64_t>2 << length) - 1) & ~<uint64_t>1
    cdef uint64_t days = f.days, near = f.near_days & whole, weekdays = turned(f.weekdays, first) << 1
    if f.has_last_day:
        days |= <uint64_t>1 << length
    while near:
        day = b3_lowest(near)
        near &= near - 1
        weekday = (first + day - 1) % 7
        if weekday == 6:
            day += -1 if day > 1 else 2
        elif weekday == 0:
            day += 1 if day < length else -2
        days |= <uint64_t>1 << day
    if f.last_weekdays:
        weekdays |= (turned(f.last_weekdays * EACH_WEEK, first) << 1) & (<uint64_t>0xFE << (length - 7))
    return (days | weekdays if f.is_either else days & weekdays) & whole


@cython.cdivision(True)
cdef inline int64_t time_from(const Fields* f, int of_day) noexcept nogil:
    """The first matching second of a day at or after one of its seconds, or -1."""
    cdef int hour = of_day // 3600, minute = of_day // 60 % 60, second = of_day % 60
    cdef uint64_t left
    if f.hours >> hour & 1:
        left = f.seconds >> second
        if left and f.minutes >> minute & 1:
            return of_day + b3_lowest(left)
        left = f.minutes >> (minute + 1)
        if left:
            return hour * 3600 + (minute + 1 + b3_lowest(left)) * 60 + b3_lowest(f.seconds)
    left = f.hours >> (hour + 1)
    if left:
        return (hour + 1 + b3_lowest(left)) * 3600 + b3_lowest(f.minutes) * 60 + b3_lowest(f.seconds)
    return -1


@cython.cdivision(True)
cdef int64_t next_local(const Fields* f, int64_t local) noexcept nogil:
    """The first matching second at or after a local one (counted from 1970, not negative), or NEVER."""
    cdef int64_t day = local // DAY_S, year, time
    cdef int month, of_month
    cdef uint64_t days = 0
    civil(day, &year, &month, &of_month)
    cdef int64_t first_day = day - of_month + 1
    if f.months >> month & 1:
        days = days_of(f, year, month, first_day)
    if days >> of_month & 1:
        time = time_from(f, <int>(local - day * DAY_S))
        if time >= 0:
            return day * DAY_S + time
    days &= ~((<uint64_t>2 << of_month) - 1)
    while not days:
        first_day += days_in(year, month)
        month += 1
        if month > 12:
            month = 1
            year += 1
            if year > LAST_YEAR:
                return NEVER
        if f.months >> month & 1:
            days = days_of(f, year, month, first_day)
    return (first_day + b3_lowest(days) - 1) * DAY_S + time_from(f, 0)
