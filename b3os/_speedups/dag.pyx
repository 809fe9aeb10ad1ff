"""The graph of a workflow version, and where a run stands in it: what is ready, what is skipped, which loop goes on.

A *scope* is what a root leads to, or the body of a loop; no node is in two. The items of a loop run one after
another, so a scope has at most one live copy at any moment: a cursor is a flat array of counters over the nodes, of
the same size after a million iterations, and nothing recurses or allocates while a run goes on.

An edge is finished when its parent is finished or skipped. A node is ready when every edge of its scope that leads to
it is finished and at least one was taken; it is skipped when none was. An edge with a label is taken when its parent
finished with that label, one without unless the parent finished with `error`.

A Graph owns its arrays and never changes; its cursors keep it alive. A cursor owns its counters.
"""

cimport cython
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from hashlib import blake2b
from zlib import crc32

from b3os.errors import BudgetExceeded

MAX_ITERATIONS = 100
MAX_NODES = 10_000
MAX_DEPTH = 10

cdef enum:
    IDLE = 0  # waits for its edges, or its scope is not live
    READY = 1
    INSIDE = 2  # a loop with an iteration in progress
    LEFT = 3  # a loop after its last iteration: to be completed
    DONE = 4
    SKIPPED = 5
    STATE = 7
    TAKEN = 8  # an edge to this node was taken, or it is an entry of its scope

cdef enum:
    PLAIN = 0  # no label
    ERROR = 1
    UNKNOWN = 254  # a label that no edge of this graph has
    NOTHING = 255  # the parent was skipped: none of its edges is taken
    LABEL_LIMIT = 250

cdef enum:
    ITERATION_LIMIT = 100
    DEPTH_LIMIT = 10
    VERSION = 1
    HEADER = 24  # magic, version, flags, fingerprint, root, nodes counted, node limit

cdef uint32_t NOWHERE = 0xFFFFFFFF  # the scope of a node that no root and no loop leads to


include "graph.pxi"


@cython.final
cdef class Cursor:
    """Where one run stands. Every call either does all it says, or raises and changes nothing.

    The exception is BudgetExceeded for the nodes of a run, run or skipped: the run ends there, and so does the cursor.
    """

    cdef readonly Graph graph
    cdef readonly uint32_t root
    cdef readonly uint32_t counted
    cdef readonly bint is_spent
    cdef uint32_t limit
    cdef bint started
    cdef uint8_t* cells  # state, and TAKEN
    cdef uint32_t* pending  # unfinished edges
    cdef uint32_t* open  # unfinished nodes of a loop's iteration; [size] of the root's scope
    cdef uint32_t* queue
    cdef uint8_t* index  # iteration in progress
    cdef uint8_t* items

    def __cinit__(self, Graph graph not None, uint32_t root, *, uint32_t node_limit=MAX_NODES):
        cdef uint32_t size = graph.size
        if root not in graph.starts:
            raise ValueError(f"a run cannot begin at node {root}: it is no root")
        self.graph = graph
        self.root = root
        self.limit = node_limit
        self.cells = <uint8_t*>zeros(size, 1)
        self.pending = <uint32_t*>zeros(size, sizeof(uint32_t))
        self.open = <uint32_t*>zeros(size + 1, sizeof(uint32_t))
        self.queue = <uint32_t*>zeros(size, sizeof(uint32_t))
        self.index = <uint8_t*>zeros(size, 1)
        self.items = <uint8_t*>zeros(size, 1)

    def __dealloc__(self):
        free(self.cells)
        free(self.pending)
        free(self.open)
        free(self.queue)
        free(self.index)
        free(self.items)

    @property
    def is_done(self):
        """Whether every node that the root leads to is finished or skipped."""
        return self.started and not self.open[self.graph.size]

    def start(self):
        """Begin the run; returns the nodes that are ready, in order."""
        cdef Scope scope
        cdef Counts counts
        self._check_alive()
        if self.started:
            raise ValueError("the run has begun")
        self.started = True
        scope, counts = self.graph.starts[self.root]
        return self._open_scope(scope, counts.values, self.graph.size)

    def complete(self, nodes, labels=None):
        """Finish nodes, one after the other; returns the nodes now ready, those now skipped, and the loops whose
        iteration has ended, each in order. `labels` runs along `nodes`: what each finished with, or None."""
        cdef list batch = nodes if type(nodes) is list else list(nodes)
        cdef list own = None if labels is None else labels if type(labels) is list else list(labels)
        cdef list ready = [], skipped = [], ended = []
        cdef Py_ssize_t at
        cdef uint32_t node
        cdef uint8_t code = PLAIN
        cdef object label = None
        self._check_alive()
        if own is not None:
            if len(own) != len(batch):
                raise ValueError("`labels` runs along `nodes`")
            for each in own:
                if each is not None and type(each) is not str:
                    raise TypeError("a label is a string or None")
        self._mark_done(batch)
        for at in range(PyList_GET_SIZE(batch)):
            node = <object>PyList_GET_ITEM(batch, at)
            if own is not None and <object>PyList_GET_ITEM(own, at) is not label:
                label = <object>PyList_GET_ITEM(own, at)
                code = self.graph._code(label)
            self._settle(node, code, ready, skipped, ended)
        return ready, skipped, ended

    def enter(self, uint32_t loop, Py_ssize_t items):
        """Begin a loop that is ready; returns the ready nodes of its first iteration, none when there is nothing to do.

        Raises BudgetExceeded for too many items, and for too many loops around it.
        """
        self._check_alive()
        self._expect(loop, READY)
        if items < 0:
            raise ValueError("a loop has no less than 0 items")
        if items > ITERATION_LIMIT:
            raise BudgetExceeded(limit="iterations", allowed=MAX_ITERATIONS, node=self.graph.ids[loop])
        if self.graph.depths[loop] >= DEPTH_LIMIT:
            raise BudgetExceeded(limit="depth", allowed=MAX_DEPTH, node=self.graph.ids[loop])
        self.index[loop] = 0
        self.items[loop] = <uint8_t>items
        if not items or loop not in self.graph.loops:
            self.cells[loop] = LEFT | TAKEN
            return []
        self.cells[loop] = INSIDE | TAKEN
        return self._open_scope(self.graph.loops[loop], self.graph.incoming, loop)

    def advance(self, uint32_t loop):
        """Go on with the next iteration; returns its ready nodes, none after the last: the loop can be completed."""
        self._check_alive()
        self._expect(loop, INSIDE)
        if self.open[loop]:
            raise ValueError(f"the iteration of {self.graph.ids[loop]!r} has not ended")
        if self.index[loop] + 1 >= self.items[loop]:
            self.cells[loop] = LEFT | TAKEN
            return []
        self.index[loop] += 1
        return self._open_scope(self.graph.loops[loop], self.graph.incoming, loop)

    def iteration(self, uint32_t loop):
        """Return which item a loop is at, from 0."""
        self.graph._check(loop)
        return self.index[loop]

    def ready(self):
        """Return every node that is ready and not finished, loops in progress among them, by number."""
        cdef uint32_t node
        return [node for node in range(self.graph.size) if READY <= self.cells[node] & STATE <= LEFT]

    cdef int _check_alive(self) except -1:
        if self.is_spent:
            raise ValueError("the run is over its budget: its cursor has ended")
        return 0

    cdef int _expect(self, uint32_t loop, uint8_t state) except -1:
        self.graph._check(loop)
        if self.cells[loop] & STATE != state:
            raise ValueError(f"node {self.graph.ids[loop]!r} is not at this point")
        return 0

    cdef int _mark_done(self, list batch) except -1:
        """Check the whole batch before anything else changes; each node once, each ready."""
        cdef Py_ssize_t at = 0
        cdef uint32_t node
        cdef uint8_t state
        cdef list left = []
        try:
            while at < PyList_GET_SIZE(batch):
                node = <object>PyList_GET_ITEM(batch, at)
                self.graph._check(node)
                state = self.cells[node] & STATE
                if state == LEFT:
                    left.append(node)
                elif state != READY:
                    raise ValueError(f"node {self.graph.ids[node]!r} is not ready")
                self.cells[node] = DONE | TAKEN
                at += 1
        except (ValueError, TypeError, OverflowError):
            for node in batch[:at]:
                self.cells[node] = READY | TAKEN
            for node in left:
                self.cells[node] = LEFT | TAKEN
            raise
        return 0

    cdef list _open_scope(self, Scope scope, const uint32_t* incoming, uint32_t slot):
        """Reset a scope to its beginning; returns its entries that are ready."""
        cdef uint32_t at, node
        cdef list ready = []
        self.open[slot] = scope.count
        for at in range(scope.count):
            node = scope.members[at]
            self.cells[node] = IDLE
            self.pending[node] = incoming[node]
        for at in range(scope.entry_count):
            node = scope.entries[at]
            if self.cells[node] == IDLE:
                self.cells[node] = TAKEN
                if not self.pending[node]:
                    self._count(node)
                    self.cells[node] = READY | TAKEN
                    PyList_Append(ready, <object>PyTuple_GET_ITEM(self.graph.numbers, node))
        return ready

    cdef inline int _count(self, uint32_t node) except -1:
        if self.counted >= self.limit:
            self.is_spent = True
            raise BudgetExceeded(limit="nodes", allowed=self.limit, node=self.graph.ids[node])
        self.counted += 1
        return 0

    cdef int _settle(self, uint32_t node, uint8_t outcome, list ready, list skipped, list ended) except -1:
        """Finish the edges of a node, then of every node that is skipped for it, first come first served."""
        cdef Graph graph = self.graph
        cdef uint32_t slot = graph.scope_of[node], head = 0, tail = 0, edge, target
        cdef uint8_t label
        while True:
            self.open[slot] -= 1
            for edge in range(graph.edges.first[node], graph.edges.first[node + 1]):
                target = graph.edges.items[edge]
                label = graph.edge_labels[edge]
                if label == outcome or (label == PLAIN and outcome != ERROR and outcome != NOTHING):
                    self.cells[target] |= TAKEN
                self.pending[target] -= 1
                if self.pending[target]:
                    continue
                self._count(target)
                if self.cells[target] & TAKEN:
                    self.cells[target] = READY | TAKEN
                    PyList_Append(ready, <object>PyTuple_GET_ITEM(graph.numbers, target))
                else:
                    self.cells[target] = SKIPPED
                    PyList_Append(skipped, <object>PyTuple_GET_ITEM(graph.numbers, target))
                    self.queue[tail] = target
                    tail += 1
            if head == tail:
                break
            outcome = NOTHING
            node = self.queue[head]
            head += 1
        if slot < graph.size and not self.open[slot]:
            PyList_Append(ended, <object>PyTuple_GET_ITEM(graph.numbers, slot))
        return 0

    def save(self):
        """Write the state down: a header, half a byte for each node, two bytes for each loop in progress, a checksum."""
        cdef uint32_t size = self.graph.size, node
        cdef bytearray out = bytearray(b"dc")
        cdef uint8_t low, high
        out.append(VERSION)
        out.append(self.started | self.is_spent << 1)
        out += self.graph.fingerprint
        for number in (self.root, self.counted, self.limit):
            out += int(number).to_bytes(4, "little")
        live = self._live()
        for node in range(0, size, 2):
            low = self.cells[node] if live[node] else 0
            high = self.cells[node + 1] if node + 1 < size and live[node + 1] else 0
            out.append(low | high << 4)
        for node in range(size):
            if live[node] and self.cells[node] & STATE == INSIDE:
                out.append(self.index[node])
                out.append(self.items[node])
        out += crc32(out).to_bytes(4, "little")
        return bytes(out)

    @staticmethod
    def restore(Graph graph not None, bytes data not None):
        """Read what `save` wrote for the same graph; raises ValueError for anything else."""
        cdef uint32_t size = graph.size
        cdef Cursor found
        cdef Py_ssize_t end = len(data) - 4
        if end < HEADER or data[:2] != b"dc" or data[2] != VERSION:
            raise ValueError("these bytes are no state of a run")
        if crc32(data[:end]) != int.from_bytes(data[end:], "little"):
            raise ValueError("the state of the run is damaged: its checksum differs")
        if data[4:12] != graph.fingerprint:
            raise ValueError("the state of the run belongs to another graph")
        root, counted, limit = (int.from_bytes(data[at : at + 4], "little") for at in (12, 16, 20))
        if data[3] > 3 or root >= size or end < HEADER + (size + 1) // 2:
            raise ValueError("the state of the run is damaged: its header makes no sense")
        found = Cursor(graph, root, node_limit=limit)
        found.counted = counted
        found.started = data[3] & 1
        found.is_spent = data[3] >> 1
        found._read_cells(data, HEADER, end)
        return found

    cdef object _live(self):
        """Mark the nodes whose scope is in progress."""
        cdef bytearray live = bytearray(self.graph.size)
        cdef list scopes = [self.graph.starts[self.root][0]] if self.started else []
        cdef Scope scope
        cdef uint32_t at, node
        while scopes:
            scope = scopes.pop()
            for at in range(scope.count):
                node = scope.members[at]
                live[node] = 1
                if self.cells[node] & STATE == INSIDE:
                    scopes.append(self.graph.loops[node])
        return live

    cdef int _read_cells(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -1:
        cdef uint32_t size = self.graph.size, node, spent
        cdef Scope scope
        cdef Counts counts
        for node in range(size):
            self.cells[node] = (data[at + node // 2] >> 4 * (node & 1)) & 15
            if self.cells[node] & STATE == INSIDE and node not in self.graph.loops:
                raise ValueError("the state of the run is damaged: an iteration of what is no loop")
        if size & 1 and data[at + size // 2] >> 4:
            raise ValueError("the state of the run is damaged: it has more nodes than its graph")
        at += (size + 1) // 2
        for node in range(size):
            if self.cells[node] & STATE == INSIDE:
                if at + 2 > end or data[at] >= data[at + 1] or data[at + 1] > ITERATION_LIMIT:
                    raise ValueError("the state of the run is damaged: a loop is at no item")
                self.index[node] = data[at]
                self.items[node] = data[at + 1]
                at += 2
        if at != end:
            raise ValueError("the state of the run is damaged: its length differs")
        live = self._live()
        spent = 0
        for node in range(size):
            if not live[node] and self.cells[node]:
                raise ValueError("the state of the run is damaged: something runs in a scope that does not")
            spent += self.cells[node] & STATE != IDLE
        if not spent <= self.counted <= self.limit:
            raise ValueError("the state of the run is damaged: it has run more nodes than were counted")
        if self.started:
            scope, counts = self.graph.starts[self.root]
            self._recount(scope, counts.values, self.graph.size)
        for node in range(size):
            if self.cells[node] & STATE == INSIDE:
                if self.graph.depths[node] >= DEPTH_LIMIT:
                    raise ValueError("the state of the run is damaged: loops too deep")
                self._recount(self.graph.loops[node], self.graph.incoming, node)
        return 0

    cdef int _recount(self, Scope scope, const uint32_t* incoming, uint32_t slot) except -1:
        """Work out the counters of a scope from the states of its nodes, and refuse states that contradict them."""
        cdef Counts may = Counts(self.graph.size)  # 1: a parent finished, 2: an entry
        cdef uint32_t at, node, edge
        cdef uint8_t state
        for at in range(scope.count):
            self.pending[scope.members[at]] = incoming[scope.members[at]]
        for at in range(scope.entry_count):
            may.values[scope.entries[at]] = 2
        for at in range(scope.count):
            node = scope.members[at]
            state = self.cells[node] & STATE
            if state != DONE and state != SKIPPED:
                self.open[slot] += 1
                continue
            for edge in range(self.graph.edges.first[node], self.graph.edges.first[node + 1]):
                self.pending[self.graph.edges.items[edge]] -= 1
                if state == DONE:
                    may.values[self.graph.edges.items[edge]] |= 1
        for at in range(scope.count):
            node = scope.members[at]
            state = self.cells[node] & STATE
            taken = self.cells[node] & TAKEN != 0
            if (
                state > SKIPPED
                or (taken and not may.values[node])
                or (may.values[node] & 2 and not taken)
                or (state == IDLE) != (self.pending[node] > 0)
                or (state == SKIPPED and taken)
                or (IDLE < state < SKIPPED and not taken)
            ) and not (self.is_spent and state == IDLE):
                raise ValueError("the state of the run is damaged: its nodes contradict each other")
        return 0
