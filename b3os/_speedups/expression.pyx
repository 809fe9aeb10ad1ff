"""Templates: `{{a.b.c || 'x'}}` inside JSON, parsed once, walked in C, one pass.

A template is a tree of `_Part` objects that own their children; C arrays beside the lists hold the same objects,
borrowed, so that a walk touches no Python list. Rendering allocates the result and nothing that outlives the call;
constants and referenced values are shared, not copied: whoever renders must not change the result in place. There is
no attribute access, no call and no second evaluation of data: a value that contains `{{` stays as it is.

Scopes are dicts, innermost first: the first name of a path is looked up in each until one has it, so that a run never
copies what its nodes left behind. `$nodes.x` is `x`.

Limits: source 64 kB a string, depth 64, text 1 MB and referenced values about 16 MB a payload, both counted over the
whole payload. A missing path is None as a whole value, "" inside text. A segment of ASCII digits is an index on a
list and a key on a dict, however it is written; an index past the end (or of more than 9 digits) leads nowhere.

A key that is one whole expression keeps the type of what it refers to where the dict is a condition (the fields
`condition` and `filter`, or a value that is a dict of `$` operators): `{"{{n.result.p}}": {"$lte": 5}}` renders to
`{"$left": <value>, "$test": {"$lte": 5}}`, or to a list of such objects when the dict has several keys.
"""

from cpython.dict cimport PyDict_Copy, PyDict_GetItemWithError
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject

import msgspec

from b3os.errors import ExpressionError

MAX_SOURCE = 64 * 1024
MAX_DEPTH = 64
MAX_RESULT = 1024 * 1024
#: Characters of referenced values in one payload, about: shared references could multiply without end when stored.
MAX_VALUES = 16 * 1024 * 1024

cdef enum:
    TEXT_LIMIT = 1024 * 1024
    VALUE_LIMIT = 16 * 1024 * 1024
    DATA_DEPTH = 256      # nesting of referenced data; the JSON encoder recurses
    MAX_DIGITS = 100      # of a number literal: finite as a float
    UNREADABLE = 400300
    TOO_BIG = 400302
    TOO_LONG = 400303

cdef object _encode = msgspec.json.Encoder().encode
cdef dict LITERALS = {"true": True, "false": False, "null": None}
cdef frozenset CONDITION_FIELDS = frozenset(("condition", "filter"))

cdef enum Kind:
    CONSTANT      # value
    PATH          # segments looked up in the scopes
    ITEM          # segments looked up in the item of a local template
    FALLBACK      # children tried in order until one is not None
    TEXT          # children joined as text
    QUOTED        # as TEXT, for a text that is parsed once more: what data brings is written as a literal
    LIST          # children
    DICT          # keys[i] -> children[i]
    CONDITION     # as DICT, with at least one key that is a left operand

cdef struct Context:
    PyObject* scopes      # tuple of dicts, innermost first; borrowed from the caller of render
    PyObject* item        # borrowed from the caller of render_local
    Py_ssize_t text       # characters of text that may still be written
    Py_ssize_t values     # characters of referenced values that may still be passed on


cdef class _Part:
    cdef Kind kind
    cdef bint is_left
    cdef Py_ssize_t count
    cdef object value            # CONSTANT: any; DICT with constant keys: the dict to copy
    cdef list children           # list[_Part]; of a path: its segments, interned
    cdef list keys               # list[_Part]
    cdef PyObject** items        # children, borrowed
    cdef Py_ssize_t* indexes     # of a path: the segment as an index, -1 when it is a name
    cdef str field
    cdef Py_ssize_t column

    def __dealloc__(self):
        PyMem_Free(self.items)
        PyMem_Free(self.indexes)


cdef object _error(str what, str field, Py_ssize_t column, int code):
    place = f" of payload.{field}" if field else ""
    return ExpressionError(f"{what}, at column {column}{place}", column=column, field=field, code=code)


cdef _Part _constant(object value):
    cdef _Part part = _Part()
    part.kind = CONSTANT
    part.value = value
    return part


cdef _Part _many(Kind kind, list children, list keys, str field, Py_ssize_t column):
    cdef _Part part = _Part(), key
    cdef Py_ssize_t n
    part.kind = kind
    part.children = children
    part.keys = keys
    part.field = field
    part.column = column
    part.count = len(children)
    part.items = <PyObject**>PyMem_Malloc(max(part.count, 1) * sizeof(PyObject*))
    if part.items == NULL:
        raise MemoryError
    for n in range(part.count):
        part.items[n] = <PyObject*>children[n]
    if kind == DICT and _all_constant(keys):
        part.value = {_text((<_Part>k).value): (<_Part>c).value for k, c in zip(keys, children)}
        if len(part.value) == part.count:
            for n in range(part.count):
                key = keys[n]
                key.value = _text(key.value)
        else:
            part.value = None
    return part


cdef _Part _path(list segments, Kind kind, str field, Py_ssize_t column):
    cdef _Part part = _many(kind, [_intern(s) for s in segments], None, field, column)
    cdef Py_ssize_t n
    part.indexes = <Py_ssize_t*>PyMem_Malloc(max(part.count, 1) * sizeof(Py_ssize_t))
    if part.indexes == NULL:
        raise MemoryError
    for n in range(part.count):
        segment = segments[n]
        part.indexes[n] = int(segment) if segment.isascii() and segment.isdigit() and len(segment) <= 9 else -1
    return part


cdef str _intern(str text):
    # A key that JSON brought is another object; equal interned ones are found by address.
    import sys
    return sys.intern(text)


include "expression_parser.pxi"


# --- rendering ---------------------------------------------------------------------------------------------------

cdef PyObject* _follow(_Part path, PyObject* value, Py_ssize_t at) except? NULL:
    """Follow the segments of a path from `at`; borrowed, NULL without an error where it leads nowhere."""
    cdef Py_ssize_t n
    while at < path.count:
        if value == NULL:
            return NULL
        if type(<object>value) is dict:
            value = PyDict_GetItemWithError(<object>value, <object>path.items[at])
        elif type(<object>value) is list:
            n = path.indexes[at]
            if n < 0 or n >= len(<list>value):
                return NULL
            value = <PyObject*>(<list>value)[n]
        else:
            return NULL
        at += 1
    return value


cdef PyObject* _find(_Part path, Context* context) except? NULL:
    """Look a path up; borrowed from the scopes, NULL without an error where it leads nowhere."""
    cdef PyObject* value = NULL
    cdef object scope
    if path.kind == ITEM:
        return _follow(path, context.item, 0)
    for scope in <tuple>context.scopes:
        value = PyDict_GetItemWithError(<dict>scope, <object>path.items[0])
        if value != NULL:
            return _follow(path, value, 1)
    return NULL


cdef Py_ssize_t _measure(object value, Py_ssize_t left, int depth):
    """Return what is left of a budget after a value of JSON, less than 0 when it is spent; stops there."""
    if left < 0 or depth > DATA_DEPTH:
        return -1
    if type(value) is str:
        return left - len(<str>value) - 2
    if type(value) is dict:
        left -= 2
        for key, item in (<dict>value).items():
            left = _measure(item, left - 4 - (len(<str>key) if type(key) is str else 0), depth + 1)
            if left < 0:
                return -1
        return left
    if type(value) is list:
        left -= 2
        for item in <list>value:
            left = _measure(item, left - 1, depth + 1)
            if left < 0:
                return -1
        return left
    return left - 4


cdef str _text(object value):
    if type(value) is str:
        return <str>value
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if type(value) is int:
        return str(value)
    return _encode(value).decode()


cdef str _written(_Part part, object value, Context* context):
    """Return a value as text, counted; an object that would not fit is never encoded."""
    cdef str text
    if type(value) is dict or type(value) is list:
        if _measure(value, context.text, 0) < 0:
            raise _too_long(part)
    text = _text(value)
    context.text -= len(text)
    if context.text < 0:
        raise _too_long(part)
    return text


cdef object _too_long(_Part part):
    return _error(f"the texts of a payload are larger than {MAX_RESULT} characters", part.field, part.column, TOO_LONG)


cdef str _joined(_Part part, Context* context):
    cdef list pieces = []
    cdef _Part child
    cdef Py_ssize_t n
    cdef str text
    for n in range(part.count):
        child = <_Part>part.items[n]
        text = _written(part, _value(child, context), context)
        if part.kind == QUOTED and child.kind != CONSTANT and "{" in text:
            text = "{{@'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'}}"
        pieces.append(text)
    return "".join(pieces)


cdef object _value(_Part part, Context* context):
    """Return the value of an expression inside a text or a fallback, or of a constant."""
    cdef PyObject* found
    cdef Py_ssize_t n
    if part.kind == CONSTANT:
        return part.value
    if part.kind == PATH or part.kind == ITEM:
        found = _find(part, context)
        return None if found == NULL else <object>found
    for n in range(part.count):
        value = _value(<_Part>part.items[n], context)
        if value is not None:
            return value
    return None


cdef object _render(_Part part, Context* context):
    cdef Py_ssize_t n
    cdef _Part key, child
    cdef dict result
    if part.kind == CONSTANT:
        return part.value
    if part.kind == PATH or part.kind == FALLBACK or part.kind == ITEM:
        value = _value(part, context)
        if type(value) is str or type(value) is dict or type(value) is list:
            context.values = _measure(value, context.values, 0)
            if context.values < 0:
                what = f"the values of a payload are larger than {MAX_VALUES} characters, or nested too deep"
                raise _error(what, part.field, part.column, TOO_LONG)
        return value
    if part.kind == TEXT or part.kind == QUOTED:
        return _joined(part, context)
    if part.kind == LIST:
        return [_render(<_Part>part.items[n], context) for n in range(part.count)]
    if part.kind == CONDITION:
        return _render_condition(part, context)
    if part.value is not None:
        # A copy brings the table at its size, and the constants.
        result = PyDict_Copy(part.value)
        for n in range(part.count):
            child = <_Part>part.items[n]
            if child.kind != CONSTANT:
                key = <_Part>part.keys[n]
                result[<str>key.value] = _render(child, context)
        return result
    result = {}
    for n in range(part.count):
        key = part.keys[n]
        result[_key(key, part, context)] = _render(<_Part>part.items[n], context)
    return result


cdef str _key(_Part key, _Part part, Context* context):
    if key.kind == TEXT:
        return _joined(key, context)
    return _written(part, _value(key, context), context)


cdef object _render_condition(_Part part, Context* context):
    cdef list tests = []
    cdef _Part key
    cdef Py_ssize_t n
    for n in range(part.count):
        key = part.keys[n]
        value = _render(<_Part>part.items[n], context)
        if key.is_left:
            tests.append({"$left": _render(key, context), "$test": value})
        else:
            tests.append({_key(key, part, context): value})
    return tests[0] if len(tests) == 1 else tests


cdef class Template:
    """A parsed payload. Immutable; shared by all runs of a workflow version."""

    cdef _Part _root
    cdef readonly tuple references   # tuple[tuple[str, ...], ...], in source order

    @property
    def is_constant(self):
        """Whether rendering returns the payload itself."""
        return self._root.kind == CONSTANT

    def render(self, object scopes not None):
        """Return the payload with every expression replaced; `scopes` is a dict, or dicts innermost first."""
        cdef Context context
        cdef tuple chain = <tuple>scopes if type(scopes) is tuple else (scopes,)
        for scope in chain:
            if type(scope) is not dict:
                raise TypeError(f"a scope is a dict, not {type(scope).__name__}")
        context.scopes = <PyObject*>chain
        context.item = NULL
        context.text = TEXT_LIMIT
        context.values = VALUE_LIMIT
        return _render(self._root, &context)


def compile_template(object value, *, str per_item = None) -> Template:
    """Parse a JSON value; raises ExpressionError naming column and field.

    `per_item` names the field whose text is rendered once more by `render_local`: what data brings into it is quoted.
    """
    cdef Template template = Template()
    cdef list references = []
    template._root = _parse_value(value, "", references, per_item, 0)
    template.references = tuple(references)
    return template


def render_local(str template not None, object item) -> str:
    """Render `{{@field}}` and `{{@}}` against one item; other expressions stay as they are."""
    cdef Context context
    cdef tuple nothing = ()
    if len(template) > MAX_RESULT:
        raise _error(f"a text is longer than {MAX_RESULT} characters", "", MAX_RESULT, TOO_BIG)
    cdef _Part part = _Parser(template, "", [], True).text(False)
    context.scopes = <PyObject*>nothing
    context.item = <PyObject*>item
    context.text = TEXT_LIMIT
    context.values = VALUE_LIMIT
    if part.kind == TEXT:
        return _joined(part, &context)
    return _written(part, _value(part, &context), &context)
