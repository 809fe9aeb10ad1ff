# The heap of next slots. Invariant: entries[heap[i].slot].place == i, and a node is not before its parent.

@cython.final
cdef class Timetable:
    """Numbers (dense, chosen by the caller) by the time they are due. Starts at `through`: what was due then is done."""

    cdef Entry* entries
    cdef Py_ssize_t entry_room
    cdef Node* heap
    cdef Py_ssize_t heap_room
    cdef Py_ssize_t count  # nodes in the heap
    cdef uint32_t* found  # places that are due; as large as the heap
    cdef Py_ssize_t used
    cdef int64_t done
    cdef dict _hits  # the answer that `due` is making: slot -> numbers
    cdef list group  # the numbers of `group_slot` in it
    cdef int64_t group_slot
    cdef Py_ssize_t left  # hits until its limit
    cdef dict _dry  # Schedule -> {number: the time after which its next slot is not known}
    cdef dict _low  # Schedule -> the time from which its next window is wanted

    def __cinit__(self, through):
        self.done = clamped(through)
        self._dry, self._low = {}, {}

    def __dealloc__(self):
        for slot in range(self.entry_room):
            if self.entries[slot].schedule != NULL:
                Py_DECREF(<object>self.entries[slot].schedule)
        free(self.entries)
        free(self.heap)
        free(self.found)

    def __len__(self):
        return self.used

    @property
    def through(self):
        """The time up to which everything due was returned."""
        cdef int64_t found = self.done
        if self.count and self.heap[0].time <= found:
            found = self.heap[0].time - 1  # a window that came late
        for slots in self._dry.values():
            found = min(found, *slots.values())
        return found

    def memory(self):
        """Return the bytes of the arrays."""
        return self.entry_room * sizeof(Entry) + self.heap_room * (sizeof(Node) + sizeof(uint32_t))

    def put(self, slot, Schedule schedule not None, since, missed):
        """Add a number or replace it; it fires after `since`, and when it is there already for nothing that it fired."""
        if not 0 <= slot < SLOT_LIMIT or missed not in (SKIP, ONCE, ALL):
            raise ValueError(f"a slot is 0 to {SLOT_LIMIT - 1}, and `missed` is SKIP, ONCE or ALL")
        cdef int64_t after = clamped(since), through = 0
        self.make_room(slot)
        if self.entries[<Py_ssize_t>slot].schedule != NULL:
            through = self.fired_through(slot)
        self.drop(slot)
        cdef Entry* entry = &self.entries[<Py_ssize_t>slot]
        Py_INCREF(schedule)
        entry.schedule, entry.since, entry.missed = <PyObject*>schedule, after, missed
        self.used += 1
        self.arm(slot, through)

    def drop(self, slot):
        """Forget a number; says whether it was there."""
        if not 0 <= slot < self.entry_room or self.entries[<Py_ssize_t>slot].schedule == NULL:
            return False
        cdef Entry* entry = &self.entries[<Py_ssize_t>slot]
        schedule = <Schedule>entry.schedule
        self.remove(slot)
        self.moisten(schedule, slot)
        if schedule.kind == COMPUTED and schedule not in self._dry:
            self._low.pop(schedule, None)
        entry.schedule = NULL
        Py_DECREF(schedule)
        self.used -= 1
        return True

    def rearm(self, through):
        """Arm every number anew from a time on: what was due after it is due again."""
        self.done = clamped(through)
        self._dry.clear()
        self._low.clear()
        for slot in range(self.entry_room):
            if self.entries[slot].schedule != NULL:
                self.arm(slot, self.done)

    def due(self, now, limit=SLOT_LIMIT):
        """Return the numbers that are due by slot, and arm each for its next one.

        After `limit` or more the rest stays due, and `through` stays before it. A dict of lists: a tuple for each of
        100,000 numbers would cost more than all the rest.
        """
        cdef int64_t until = clamped(now)
        cdef Py_ssize_t taken, i
        cdef list gone = []
        self._hits, self.group, self.left = {}, None, limit
        while self.left > 0 and self.count and self.heap[0].time <= until:
            taken = self.gather(until, self.left)
            i = 0
            try:
                while i < taken:
                    self.fire(self.found[i], until, gone)
                    i += 1
            finally:
                while i > 0:
                    i -= 1
                    self.sink(self.found[i])
                for slot in gone:
                    self.remove(slot)
                gone.clear()
        if not self.count or self.heap[0].time > until:
            self.done = max(self.done, until)
        else:
            self.done = max(self.done, self.heap[0].time - 1)
        hits, self._hits, self.group = self._hits, None, None
        return hits

    def wanted(self):
        """Return (schedule, after) of the windows that are used up or nearly so, the used up first."""
        found = [(schedule, min(slots.values())) for schedule, slots in self._dry.items()]
        return found + [pair for pair in self._low.items() if pair[0] not in self._dry]

    def fill(self, Schedule schedule not None, after, list times not None, is_final):
        """Replace the window of a schedule by all its slots after a time, up to the last of `times`."""
        schedule.fill(clamped(after), times, is_final)
        self._low.pop(schedule, None)
        for slot, since in self._dry.pop(schedule, {}).items():
            self.arm(slot, since)

    cdef int hit(self, uint32_t number, int64_t slot) except -1:
        if self.group is None or slot != self.group_slot:
            self.group = self._hits.setdefault(slot, [])
            self.group_slot = slot
        self.group.append(number)
        self.left -= 1
        return 0

    cdef int fire(self, Py_ssize_t place, int64_t now, list gone) except -1:
        """Note the slots of one due node that its policy runs, and set its next time."""
        cdef Node* node = &self.heap[place]
        cdef Entry* entry = &self.entries[node.slot]
        cdef Schedule schedule = <Schedule>entry.schedule
        cdef int64_t slot = node.time
        if entry.missed == ALL:
            slot = schedule.oldest_kept(slot, now, MISSED_LIMIT)
        elif schedule.asked_now == now:
            slot = schedule.newest
        else:
            slot = schedule.oldest_kept(slot, now, 1)
            if slot != UNKNOWN:
                schedule.asked_now, schedule.newest = now, slot
        if slot == UNKNOWN:  # which slots are the newest is not known before the next window is
            self.want(schedule, node.slot, schedule.newest - 1, True)
            node.time = NEVER
            gone.append(node.slot)
            return 0
        if entry.missed != SKIP or slot >= now - LATE_S:
            self.hit(node.slot, slot)
            while entry.missed == ALL:
                node.time = schedule.following(slot)
                if node.time == UNKNOWN or node.time > now:
                    break
                slot = node.time
                self.hit(node.slot, slot)
        node.time = schedule.following(slot)
        if schedule.is_low or node.time == UNKNOWN:
            self.want(schedule, node.slot, slot, node.time == UNKNOWN)
        if node.time == UNKNOWN or node.time == NEVER:
            node.time = NEVER
            gone.append(node.slot)
        return 0

    cdef int arm(self, Py_ssize_t slot, int64_t after) except -1:
        cdef Entry* entry = &self.entries[slot]
        cdef Schedule schedule = <Schedule>entry.schedule
        after = max(after, entry.since)
        cdef int64_t time = schedule.following(after)
        if schedule.is_low or time == UNKNOWN:
            self.want(schedule, slot, after, time == UNKNOWN)
        if time == UNKNOWN or time == NEVER:
            self.remove(slot)
            return 0
        if entry.place == OUTSIDE:
            entry.place = self.count
            self.count += 1
        self.heap[entry.place].slot = slot
        self.heap[entry.place].time = time
        self.sink(self.rise(entry.place))
        return 0

    cdef int want(self, Schedule schedule, Py_ssize_t slot, int64_t after, bint is_dry) except -1:
        if is_dry:
            self._dry.setdefault(schedule, {})[slot] = after
        else:
            self._low[schedule] = after
        return 0

    cdef int64_t fired_through(self, Py_ssize_t slot) except? -1:
        cdef Entry* entry = &self.entries[slot]
        cdef int64_t through = self.done
        if entry.place != OUTSIDE:
            through = min(through, self.heap[entry.place].time - 1)
        return min(through, self._dry.get(<Schedule>entry.schedule, {}).get(slot, through))

    cdef int moisten(self, Schedule schedule, Py_ssize_t slot) except -1:
        if schedule.kind == COMPUTED and schedule in self._dry:
            self._dry[schedule].pop(slot, None)
            if not self._dry[schedule]:
                del self._dry[schedule]
        return 0

    cdef Py_ssize_t gather(self, int64_t until, Py_ssize_t limit) noexcept:
        """Collect due places, parents first and ascending: a heap's due nodes hang together at its top."""
        cdef Py_ssize_t taken = 1, i = 0, child
        self.found[0] = 0
        while i < taken and taken < limit:
            child = 2 * <Py_ssize_t>self.found[i] + 1
            if child < self.count and self.heap[child].time <= until:
                self.found[taken] = child
                taken += 1
            child += 1
            if taken < limit and child < self.count and self.heap[child].time <= until:
                self.found[taken] = child
                taken += 1
            i += 1
        return taken

    cdef void remove(self, Py_ssize_t slot) noexcept:
        cdef Py_ssize_t place = self.entries[slot].place
        if place == OUTSIDE:
            return
        self.entries[slot].place = OUTSIDE
        self.count -= 1
        if place != self.count:
            self.heap[place] = self.heap[self.count]
            self.entries[self.heap[place].slot].place = place
            self.sink(self.rise(place))

    cdef Py_ssize_t rise(self, Py_ssize_t place) noexcept:
        cdef Node node = self.heap[place]
        cdef Py_ssize_t parent
        while place:
            parent = (place - 1) >> 1
            if self.heap[parent].time <= node.time:
                break
            self.heap[place] = self.heap[parent]
            self.entries[self.heap[place].slot].place = place
            place = parent
        self.heap[place] = node
        self.entries[node.slot].place = place
        return place

    cdef void sink(self, Py_ssize_t place) noexcept:
        cdef Node node = self.heap[place]
        cdef Py_ssize_t child
        while True:
            child = 2 * place + 1
            if child >= self.count:
                break
            if child + 1 < self.count and self.heap[child + 1].time < self.heap[child].time:
                child += 1
            if self.heap[child].time >= node.time:
                break
            self.heap[place] = self.heap[child]
            self.entries[self.heap[place].slot].place = place
            place = child
        self.heap[place] = node
        self.entries[node.slot].place = place

    cdef int make_room(self, Py_ssize_t slot) except -1:
        """Let the arrays reach a number; nothing has changed when there is no memory."""
        cdef Py_ssize_t room = max(16, self.entry_room)
        while room <= slot:
            room *= 2
        if room > self.entry_room:
            entries = <Entry*>realloc(self.entries, room * sizeof(Entry))
            if entries == NULL:
                raise MemoryError
            self.entries = entries
            memset(&entries[self.entry_room], 0, (room - self.entry_room) * sizeof(Entry))
            for i in range(self.entry_room, room):
                entries[i].place = OUTSIDE
            self.entry_room = room
        if self.used == self.heap_room:
            room = max(16, 2 * self.heap_room)
            heap = <Node*>realloc(self.heap, room * sizeof(Node))
            if heap == NULL:
                raise MemoryError
            self.heap = heap
            found = <uint32_t*>realloc(self.found, room * sizeof(uint32_t))
            if found == NULL:
                raise MemoryError
            self.found = found
            self.heap_room = room
        return 0
