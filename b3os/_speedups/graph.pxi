# The compiled graph: CSR lists of children and bodies, and the scopes found in them. Part of dag.pyx.

cdef void* zeros(size_t count, size_t width) except NULL:
    cdef void* found = calloc(count + 1, width)
    if found == NULL:
        raise MemoryError("a graph of this size does not fit")
    return found


cdef class Lists:
    """A list of node numbers for each node: `first[n]` to `first[n + 1]` in `items`."""

    cdef uint32_t* first
    cdef uint32_t* items
    cdef uint32_t total

    def __cinit__(self, uint32_t size, lists):
        cdef uint32_t at = 0, node, target
        self.total = sum([len(one) for one in lists])
        self.first = <uint32_t*>zeros(size + 1, sizeof(uint32_t))
        self.items = <uint32_t*>zeros(self.total, sizeof(uint32_t))
        for node in range(size):
            self.first[node] = at
            for number in lists[node]:
                target = number
                if target >= size:
                    raise ValueError(f"node {node} leads to {number}, and there are {size} nodes")
                self.items[at] = target
                at += 1
        self.first[size] = at

    def __dealloc__(self):
        free(self.first)
        free(self.items)


cdef class Scope:
    """What can run together: its nodes, its entries in order, and how many edges of the scope lead to each node."""

    cdef uint32_t* members
    cdef uint32_t count
    cdef const uint32_t* entries  # inside a Lists of the graph
    cdef uint32_t entry_count

    def __dealloc__(self):
        free(self.members)


@cython.final
cdef class Graph:
    """Compiled once per workflow version, shared by all its runs.

    Nodes are numbers; `ids` are their names. `labels` runs along `children`. `roots` are where a run may begin.
    Raises ValueError for a number out of range, a node in two scopes and a cycle.
    """

    cdef readonly tuple ids
    cdef readonly tuple roots
    cdef dict places  # id -> number
    cdef dict codes  # label -> code
    cdef tuple numbers  # the Python ints that are answered, made once
    cdef Lists edges, bodies
    cdef uint8_t* edge_labels
    cdef uint32_t* scope_of  # the loop whose body the node is in; `size` under a root
    cdef uint16_t* depths
    cdef uint32_t* incoming  # of nodes inside loops
    cdef dict loops  # loop -> Scope
    cdef dict starts  # root -> (Scope, edges inside that lead to each node)
    cdef uint32_t size
    cdef bytes fingerprint

    def __cinit__(self, ids, children, labels, bodies, roots):
        self.ids = tuple(ids)
        self.size = len(self.ids)
        self.places = {name: number for number, name in enumerate(self.ids)}
        if len(self.places) != self.size or not len(children) == len(labels) == len(bodies) == self.size:
            raise ValueError("a graph has one name, one list of children, of labels and of a body for each node")
        self.numbers = tuple(range(self.size))
        self.roots = tuple(roots)
        self.edges = Lists(self.size, children)
        self.bodies = Lists(self.size, bodies)
        self.edge_labels = <uint8_t*>zeros(self.edges.total, 1)
        self.scope_of = <uint32_t*>zeros(self.size, sizeof(uint32_t))
        self.depths = <uint16_t*>zeros(self.size, sizeof(uint16_t))
        self.incoming = <uint32_t*>zeros(self.size, sizeof(uint32_t))
        self._read_labels(children, labels)
        self._find_scopes()
        self._find_depths()
        self.fingerprint = self._digest()

    def __dealloc__(self):
        free(self.edge_labels)
        free(self.scope_of)
        free(self.depths)
        free(self.incoming)

    def __len__(self):
        return self.size

    def number(self, str name not None):
        """Return the number of a node; raises KeyError."""
        return self.places[name]

    def loop_of(self, uint32_t node):
        """Return the loop whose body a node is in, or -1."""
        self._check(node)
        return -1 if self.scope_of[node] >= self.size else self.scope_of[node]

    def has_label(self, uint32_t node, label):
        """Say whether an edge of a node has this label."""
        cdef uint32_t edge
        self._check(node)
        for edge in range(self.edges.first[node], self.edges.first[node + 1]):
            if self.edge_labels[edge] == self._code(label):
                return True
        return False

    cdef int _check(self, uint32_t node) except -1:
        if node >= self.size:
            raise ValueError(f"there is no node {node}: the graph has {self.size}")
        return 0

    cdef uint8_t _code(self, label) except? 253:
        return PLAIN if label is None else self.codes.get(label, UNKNOWN)

    cdef bytes _digest(self):
        """Tell this graph from any other; labels are told by their codes, and the codes by their order."""
        cdef size_t width = sizeof(uint32_t)
        told = blake2b("\0".join((*self.ids, *self.codes)).encode("utf-8", "surrogatepass"), digest_size=8)
        told.update((<char*>self.edges.first)[: (self.size + 1) * width])
        told.update((<char*>self.edges.items)[: self.edges.total * width])
        told.update((<char*>self.edge_labels)[: self.edges.total])
        told.update((<char*>self.bodies.first)[: (self.size + 1) * width])
        told.update((<char*>self.bodies.items)[: self.bodies.total * width])
        return told.digest()

    cdef int _read_labels(self, children, labels) except -1:
        cdef uint32_t at = 0
        self.codes = {"error": ERROR}
        for targets, own in zip(children, labels):
            if len(targets) != len(own):
                raise ValueError("`labels` runs along `children`")
            for label in own:
                if label is not None and label not in self.codes:
                    if len(self.codes) == LABEL_LIMIT:
                        raise ValueError(f"a graph has at most {LABEL_LIMIT} labels")
                    self.codes[label] = len(self.codes) + 1
                self.edge_labels[at] = PLAIN if label is None else self.codes[label]
                at += 1
        return 0

    cdef int _find_scopes(self) except -1:
        """Give each node its scope; a node that is reached in two scopes has no place in either."""
        cdef uint32_t node
        cdef Counts counts, work = Counts(self.size)
        for node in range(self.size):
            self.scope_of[node] = NOWHERE
        self.loops = {}
        self.starts = {}
        for node in range(self.size):
            if self.bodies.first[node] < self.bodies.first[node + 1]:
                self.loops[node] = self._reach(node, node, self.bodies, self.incoming, work)
        for root in self.roots:
            self._check(root)
            counts = Counts(self.size)
            self.starts[root] = (self._reach(root, self.size, self.edges, counts.values, work), counts)
            for node in range(self.size):  # the next root may lead to the same nodes
                if self.scope_of[node] == self.size:
                    self.scope_of[node] = NOWHERE
        for scope, _ in self.starts.values():
            for node in range((<Scope>scope).count):
                self.scope_of[(<Scope>scope).members[node]] = self.size
        return 0

    cdef Scope _reach(self, uint32_t start, uint32_t slot, Lists lists, uint32_t* incoming, Counts work):
        """Collect what `lists` of `start` leads to, breadth first, and count the edges inside."""
        cdef Scope found = Scope()
        cdef uint32_t head = 0, tail = 0, node, edge
        found.entries = lists.items + lists.first[start]
        found.entry_count = lists.first[start + 1] - lists.first[start]
        for edge in range(found.entry_count):
            tail += self._claim(found.entries[edge], slot, work.values + tail)
        while head < tail:
            node = work.values[head]
            head += 1
            for edge in range(self.edges.first[node], self.edges.first[node + 1]):
                incoming[self.edges.items[edge]] += 1
                tail += self._claim(self.edges.items[edge], slot, work.values + tail)
        found.members = <uint32_t*>zeros(tail, sizeof(uint32_t))
        found.count = tail
        memcpy(found.members, work.values, tail * sizeof(uint32_t))
        self._refuse_cycle(found, incoming, work.values)
        return found

    cdef int _claim(self, uint32_t node, uint32_t slot, uint32_t* place) except -1:
        """Put a node into a scope, once; returns how many places that took."""
        if self.scope_of[node] == slot:
            return 0
        if self.scope_of[node] != NOWHERE:
            raise ValueError(f"node {self.ids[node]!r} is inside a loop and outside of it: a body may not lead out")
        self.scope_of[node] = slot
        place[0] = node
        return 1

    cdef int _refuse_cycle(self, Scope scope, uint32_t* incoming, uint32_t* queue) except -1:
        """Kahn's algorithm: what never becomes free is on a cycle, or behind one. Leaves `incoming` as it was."""
        cdef uint32_t at, node, head = 0, tail = 0, edge, target
        for at in range(scope.count):
            if not incoming[scope.members[at]]:
                queue[tail] = scope.members[at]
                tail += 1
        while head < tail:
            node = queue[head]
            head += 1
            for edge in range(self.edges.first[node], self.edges.first[node + 1]):
                target = self.edges.items[edge]
                incoming[target] -= 1
                if not incoming[target]:
                    queue[tail] = target
                    tail += 1
        if tail < scope.count:
            raise ValueError("the graph has a cycle")
        for at in range(scope.count):
            node = scope.members[at]
            for edge in range(self.edges.first[node], self.edges.first[node + 1]):
                incoming[self.edges.items[edge]] += 1
        return 0

    cdef int _find_depths(self) except -1:
        """Count the loops around each node; a loop inside its own body is a cycle."""
        cdef Counts known = Counts(self.size)
        cdef list chain
        cdef uint32_t node, at
        for node in range(self.size):
            chain = []
            at = node
            while at < self.size and not known.values[at]:
                chain.append(at)
                if <uint32_t>len(chain) > self.size:
                    raise ValueError("the graph has a cycle: a loop is in its own body")
                at = self.scope_of[at]
            for at in reversed(chain):
                if self.scope_of[at] < self.size:
                    self.depths[at] = min(self.depths[self.scope_of[at]] + 1, 0xFFFF)
                known.values[at] = 1
        return 0


cdef class Counts:
    """One number per node."""

    cdef uint32_t* values

    def __cinit__(self, uint32_t size):
        self.values = <uint32_t*>zeros(size, sizeof(uint32_t))

    def __dealloc__(self):
        free(self.values)
