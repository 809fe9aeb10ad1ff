"""Templates: `{{a.b.c || 'x'}}` inside JSON, parsed once, walked in C, one pass.

A template is a tree of `_Part` objects that own their children. Rendering allocates the result and nothing that
outlives the call. There is no attribute access, no call and no second evaluation of data: a value that contains
`{{` after rendering stays as it is.

Limits: source 64 kB a string, depth 64, result 1 MB of text. A missing path is None, or "" inside text.

A dict key that is one whole expression keeps the type of what it refers to: `{"{{n.result.p}}": {"$lte": 5}}` renders
to `{"$left": <value>, "$test": {"$lte": 5}}`, or to a list of such objects when the dict has several keys.
"""

import msgspec

from b3os.errors import ExpressionError

MAX_SOURCE = 64 * 1024
MAX_DEPTH = 64
MAX_RESULT = 1024 * 1024

cdef object _encode = msgspec.json.Encoder().encode

cdef enum Kind:
    CONSTANT      # value
    PATH          # value: tuple of segments (str or int)
    FALLBACK      # children tried in order until one is not None
    TEXT          # children joined as text
    LIST          # children
    DICT          # keys[i] (part) -> children[i]
    CONDITION     # as DICT, with at least one key that is a whole expression


cdef class _Part:
    cdef Kind kind
    cdef object value      # CONSTANT: any; PATH: tuple[str | int, ...]
    cdef list keys         # DICT: list[_Part]
    cdef list children     # list[_Part]

    def __cinit__(self):
        self.value = None
        self.keys = None
        self.children = None


cdef _Part _constant(object value):
    cdef _Part part = _Part()
    part.kind = CONSTANT
    part.value = value
    return part


cdef _Part _many(Kind kind, list children):
    cdef _Part part = _Part()
    part.kind = kind
    part.children = children
    return part


# --- parsing -----------------------------------------------------------------------------------------------------

cdef bint _is_name(Py_UCS4 c):
    return c.isalnum() or c == u"_" or c == u"-" or c == u"$" or c == u"@"


cdef object _fail(str message, Py_ssize_t column):
    raise ExpressionError(f"{message} at column {column}", column=column)


cdef class _Parser:
    cdef str source
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef list references

    def __cinit__(self, str source, list references):
        self.source = source
        self.at = 0
        self.end = len(source)
        self.references = references

    cdef void skip(self):
        while self.at < self.end and self.source[self.at].isspace():
            self.at += 1

    cdef _Part alternatives(self):
        cdef list parts = [self.operand()]
        self.skip()
        while self.at + 1 < self.end and self.source[self.at] == u"|" and self.source[self.at + 1] == u"|":
            self.at += 2
            parts.append(self.operand())
            self.skip()
        return parts[0] if len(parts) == 1 else _many(FALLBACK, parts)

    cdef _Part operand(self):
        cdef Py_UCS4 c
        self.skip()
        if self.at >= self.end:
            _fail("an expression is missing", self.at)
        c = self.source[self.at]
        if c == u"'" or c == u'"':
            return _constant(self.string())
        if c.isdigit() or (c == u"-" and self.at + 1 < self.end and self.source[self.at + 1].isdigit()):
            return self.number_or_path()
        return self.path()

    cdef str string(self):
        cdef Py_UCS4 quote = self.source[self.at]
        cdef Py_ssize_t begin = self.at
        cdef list out = []
        self.at += 1
        while self.at < self.end:
            c = self.source[self.at]
            if c == u"\\" and self.at + 1 < self.end:
                self.at += 1
                c = self.source[self.at]
                out.append({"n": "\n", "t": "\t"}.get(c, c))
            elif c == quote:
                self.at += 1
                return "".join(out)
            else:
                out.append(c)
            self.at += 1
        _fail("a string is not closed", begin)

    cdef _Part number_or_path(self):
        # `-1`, `2.5` are numbers; `1abc.x` is a node id.
        cdef Py_ssize_t begin = self.at
        cdef str word
        self.at += 1
        while self.at < self.end and (_is_name(self.source[self.at]) or self.source[self.at] == u"."):
            self.at += 1
        word = self.source[begin:self.at]
        try:
            return _constant(int(word))
        except ValueError:
            pass
        if word.replace(".", "", 1).lstrip("-").isdigit():
            return _constant(float(word))
        self.at = begin
        return self.path()

    cdef _Part path(self):
        cdef list segments = [self.name()]
        cdef Py_UCS4 c
        cdef _Part part
        while self.at < self.end:
            c = self.source[self.at]
            if c == u".":
                self.at += 1
                segments.append(self.name())
            elif c == u"[":
                segments.append(self.index())
            else:
                break
        if len(segments) > MAX_DEPTH:
            _fail(f"a path has more than {MAX_DEPTH} segments", self.at)
        if len(segments) == 1 and segments[0] in ("true", "false", "null"):
            return _constant({"true": True, "false": False, "null": None}[segments[0]])
        part = _Part()
        part.kind = PATH
        part.value = tuple(segments)
        self.references.append(tuple(str(s) for s in segments))
        return part

    cdef str name(self):
        cdef Py_ssize_t begin = self.at
        while self.at < self.end and _is_name(self.source[self.at]):
            self.at += 1
        if self.at == begin:
            _fail("a name is expected", self.at)
        return self.source[begin:self.at]

    cdef object index(self):
        cdef Py_ssize_t begin = self.at
        cdef str word
        self.at += 1
        self.skip()
        if self.at < self.end and self.source[self.at] in u"'\"":
            word = self.string()
        else:
            begin = self.at
            while self.at < self.end and self.source[self.at].isdigit():
                self.at += 1
            word = self.source[begin:self.at]
            if not word:
                _fail("an index or a quoted name is expected", begin)
        self.skip()
        if self.at >= self.end or self.source[self.at] != u"]":
            _fail("] is expected", self.at)
        self.at += 1
        return word


cdef Py_ssize_t _close(str source, Py_ssize_t begin):
    """Return where `}}` ends the expression begun at `begin`, quotes respected; -1 when it does not."""
    cdef Py_ssize_t at = begin
    cdef Py_ssize_t end = len(source)
    cdef Py_UCS4 quote = 0
    cdef Py_UCS4 c
    while at < end:
        c = source[at]
        if quote:
            if c == u"\\":
                at += 1
            elif c == quote:
                quote = 0
        elif c == u"'" or c == u'"':
            quote = c
        elif c == u"}" and at + 1 < end and source[at + 1] == u"}":
            return at
        at += 1
    return -1


cdef _Part _parse_expression(str source, Py_ssize_t begin, Py_ssize_t close, list references):
    cdef _Parser parser = _Parser(source[:close], references)
    parser.at = begin
    cdef _Part part = parser.alternatives()
    parser.skip()
    if parser.at < close:
        _fail(f"unexpected {source[parser.at]!r}", parser.at)
    return part


cdef _Part _parse_text(str source, list references, bint local):
    """Parse a string. `{{@x}}` is left alone unless `local`: format renders it per item."""
    cdef Py_ssize_t at = 0, begin, close
    cdef list parts = []
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"a template is longer than {MAX_SOURCE} characters")
    while True:
        begin = source.find("{{", at)
        if begin < 0:
            break
        close = _close(source, begin + 2)
        if close < 0:
            _fail("{{ is not closed by }}", begin)
        if source[begin + 2:close].lstrip().startswith("@") != local:
            parts.append(_constant(source[at:close + 2]))
        else:
            if begin > at:
                parts.append(_constant(source[at:begin]))
            parts.append(_parse_expression(source, begin + 2, close, references))
        at = close + 2
    if not parts:
        return _constant(source)
    if at < len(source):
        parts.append(_constant(source[at:]))
    if len(parts) == 1:
        return parts[0]
    return _many(TEXT, parts)


cdef _Part _parse_value(object value, list references, int depth):
    cdef _Part part
    if depth > MAX_DEPTH:
        raise ExpressionError(f"a payload is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _parse_text(value, references, False)
    if isinstance(value, list):
        part = _many(LIST, [_parse_value(item, references, depth + 1) for item in value])
        return part if any(not _is_constant(p) for p in part.children) else _constant(value)
    if isinstance(value, dict):
        return _parse_dict(value, references, depth)
    return _constant(value)


cdef _Part _parse_dict(dict value, list references, int depth):
    cdef _Part part = _many(DICT, []), key_part
    part.keys = []
    cdef bint constant = True
    for key, item in value.items():
        key_part = _parse_text(str(key), references, False)
        if key_part.kind == PATH or key_part.kind == FALLBACK:
            part.kind = CONDITION
        try:
            child = _parse_value(item, references, depth + 1)
        except ExpressionError as error:
            error.field = f"{key}.{error.field}" if error.field else str(key)
            raise
        constant = constant and _is_constant(key_part) and _is_constant(child)
        part.keys.append(key_part)
        part.children.append(child)
    return _constant(value) if constant else part


cdef bint _is_constant(_Part part):
    return part.kind == CONSTANT


# --- rendering ---------------------------------------------------------------------------------------------------

cdef object _walk(tuple path, object value):
    """Follow a path through dicts and lists; None where it leads nowhere."""
    cdef Py_ssize_t n
    for segment in path:
        if type(value) is dict:
            value = (<dict>value).get(segment)
        elif type(value) is list:
            if not segment.isdigit() or len(segment) > 9:
                return None
            n = int(segment)
            if n >= len(<list>value):
                return None
            value = (<list>value)[n]
        else:
            return None
        if value is None:
            return None
    return value


cdef str _text(object value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    return _encode(value).decode()


cdef object _render(_Part part, object scope):
    cdef Py_ssize_t i, size
    cdef _Part child
    if part.kind == CONSTANT:
        return part.value
    if part.kind == PATH:
        return _walk(part.value, scope)
    if part.kind == FALLBACK:
        for child in part.children:
            value = _render(child, scope)
            if value is not None:
                return value
        return None
    if part.kind == TEXT:
        pieces = [_text(_render(child, scope)) for child in part.children]
        size = 0
        for piece in pieces:
            size += len(<str>piece)
        if size > MAX_RESULT:
            raise ExpressionError(f"a rendered text is larger than {MAX_RESULT} characters")
        return "".join(pieces)
    if part.kind == LIST:
        return [_render(child, scope) for child in part.children]
    if part.kind == DICT:
        result = {}
        for i in range(len(part.children)):
            result[_text(_render(part.keys[i], scope))] = _render(part.children[i], scope)
        return result
    return _render_condition(part, scope)


cdef object _render_condition(_Part part, object scope):
    cdef list tests = []
    cdef _Part key
    for i in range(len(part.children)):
        key = part.keys[i]
        value = _render(part.children[i], scope)
        if key.kind == PATH or key.kind == FALLBACK:
            tests.append({"$left": _render(key, scope), "$test": value})
        else:
            tests.append({_text(_render(key, scope)): value})
    return tests[0] if len(tests) == 1 else tests


cdef class Template:
    """A parsed payload. Immutable; shared by all runs of a workflow version."""

    cdef _Part _root
    cdef readonly tuple references   # tuple[tuple[str, ...], ...], in source order

    @property
    def is_constant(self):
        """Whether rendering returns the payload itself."""
        return self._root.kind == CONSTANT

    def render(self, dict scope not None):
        """Return the payload with every expression replaced by its value; the scope is only read."""
        return _render(self._root, scope)


def compile_template(object value) -> Template:
    """Parse a JSON value; raises ExpressionError naming column and field."""
    cdef Template template = Template()
    cdef list references = []
    template._root = _parse_value(value, references, 0)
    template.references = tuple(references)
    return template


def render_local(str template not None, object item) -> str:
    """Render `{{@field}}` against one item; `{{@}}`-free text and other expressions stay as they are."""
    cdef _Part part = _parse_text(template, [], True)
    if part.kind == CONSTANT:
        return _text(part.value)
    # A local path begins with "@name": look it up without the mark.
    scope = {f"@{key}": value for key, value in item.items()} if isinstance(item, dict) else {"@value": item}
    return _text(_render(part, scope))
