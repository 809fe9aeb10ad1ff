"""The parser of templates: text to `_Part`, included by expression.pyx. One pass, linear, no recursion on text.

    expression  = operand ("||" operand)*
    operand     = string | number | true | false | null | path
    path        = name ("." name | "[" digits "]" | "[" string "]")*
    local       = "@" [path | brackets] | "@" string          only in the text that `format` renders per item

Names are letters, digits, `_`, `-` and `$`; any other name is written in quotes in brackets. `{{` in the text must be
closed; literal braces are written `{{'{{'}}`.
"""


cdef bint _is_name(Py_UCS4 c):
    return c.isalnum() or c == u"_" or c == u"-" or c == u"$"


cdef bint _is_digit(Py_UCS4 c):
    return u"0" <= c <= u"9"


cdef bint _is_number(str word):
    """Say whether a word is `-?digits` or `-?digits.digits`, in ASCII; `1_000`, `1e5` and `2x` are names."""
    cdef Py_ssize_t at = 1 if word.startswith("-") else 0
    cdef Py_ssize_t end = len(word)
    cdef Py_ssize_t begin = at
    cdef bint has_point = False
    while at < end:
        if word[at] == u"." and not has_point and at > begin:
            has_point = True
            begin = at + 1
        elif not _is_digit(word[at]):
            return False
        at += 1
    return at > begin


cdef class _Parser:
    """Reads the expressions of one text. `references` collects the paths in source order."""

    cdef str source
    cdef str field
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef list references
    cdef bint is_local

    def __cinit__(self, str source, str field, list references, bint is_local):
        self.source = source
        self.field = field
        self.at = 0
        self.end = len(source)
        self.references = references
        self.is_local = is_local

    cdef object fail(self, str message, Py_ssize_t column):
        raise _error(message, self.field, column, UNREADABLE)

    cdef _Part text(self, bint is_quoting):
        """Parse the whole source; expressions of the other pass stay as they are."""
        cdef Py_ssize_t at = 0, begin, close
        cdef Py_ssize_t end = self.end
        cdef list parts = []
        while True:
            begin = self.source.find("{{", at)
            if begin < 0:
                break
            close = self.close(begin + 2)
            if close < 0:
                self.fail("{{ is not closed by }}", begin)
            if self.is_local_at(begin + 2, close) != self.is_local:
                parts.append(_constant(self.source[at:close + 2]))
            else:
                if begin > at:
                    parts.append(_constant(self.source[at:begin]))
                parts.append(self.expression(begin + 2, close))
            at = close + 2
        if at == 0:
            return _constant(self.source)
        if at < end:
            parts.append(_constant(self.source[at:end]))
        if len(parts) == 1:
            return parts[0]
        return _many(QUOTED if is_quoting else TEXT, parts, None, self.field, 0)

    cdef Py_ssize_t close(self, Py_ssize_t at):
        """Return where `}}` ends the expression that begins at `at`, quotes respected; -1 when it does not."""
        cdef Py_ssize_t end = len(self.source)
        cdef Py_UCS4 quote = 0
        cdef Py_UCS4 c
        while at < end:
            c = self.source[at]
            if quote:
                if c == u"\\":
                    at += 1
                elif c == quote:
                    quote = 0
            elif c == u"'" or c == u'"':
                quote = c
            elif c == u"}" and at + 1 < end and self.source[at + 1] == u"}":
                return at
            at += 1
        return -1

    cdef bint is_local_at(self, Py_ssize_t at, Py_ssize_t close):
        while at < close and self.source[at].isspace():
            at += 1
        return at < close and self.source[at] == u"@"

    cdef _Part expression(self, Py_ssize_t begin, Py_ssize_t close):
        cdef list parts
        self.at = begin
        self.end = close
        parts = [self.operand()]
        self.skip()
        while self.at + 1 < self.end and self.source[self.at] == u"|" and self.source[self.at + 1] == u"|":
            self.at += 2
            parts.append(self.operand())
            self.skip()
        if self.at < close:
            self.fail(f"unexpected {self.source[self.at]!r}", self.at)
        return parts[0] if len(parts) == 1 else _many(FALLBACK, parts, None, self.field, begin)

    cdef void skip(self):
        while self.at < self.end and self.source[self.at].isspace():
            self.at += 1

    cdef bint is_next(self, Py_UCS4 c):
        return self.at < self.end and self.source[self.at] == c

    cdef bint is_quote(self):
        return self.is_next(u"'") or self.is_next(u'"')

    cdef _Part operand(self):
        self.skip()
        if self.at >= self.end:
            self.fail("an expression is missing", self.at)
        if self.is_quote():
            return _constant(self.string())
        if self.is_next(u"@"):
            return self.local()
        if _is_digit(self.source[self.at]) or self.source[self.at] == u"-":
            return self.number_or_path()
        return self.path()

    cdef _Part local(self):
        cdef Py_ssize_t begin = self.at
        if not self.is_local:
            self.fail("@ stands at the beginning of a local expression", begin)
        self.at += 1
        if self.is_quote():
            return _constant(self.string())
        segments = [] if self.at >= self.end or not _is_name(self.source[self.at]) else [self.name()]
        self.rest(segments)
        return _path(segments, ITEM, self.field, begin)

    cdef str string(self):
        cdef Py_UCS4 quote = self.source[self.at]
        cdef Py_UCS4 c
        cdef Py_ssize_t begin = self.at
        cdef list out = []
        self.at += 1
        while self.at < self.end:
            c = self.source[self.at]
            if c == quote:
                self.at += 1
                return "".join(out)
            if c == u"\\" and self.at + 1 < self.end:
                self.at += 1
                c = self.source[self.at]
                c = u"\n" if c == u"n" else u"\t" if c == u"t" else c
            out.append(c)
            self.at += 1
        self.fail("a string is not closed", begin)

    cdef _Part number_or_path(self):
        """Read `-1` or `2.5` as a number and `1abc.x` as a node id, by the whole word."""
        cdef Py_ssize_t begin = self.at
        cdef str word
        while self.at < self.end and (_is_name(self.source[self.at]) or self.source[self.at] == u"."):
            self.at += 1
        word = self.source[begin:self.at]
        if not _is_number(word) or self.is_next(u"["):
            self.at = begin
            return self.path()
        if len(word) > MAX_DIGITS:
            self.fail(f"a number has more than {MAX_DIGITS} characters", begin)
        return _constant(float(word) if "." in word else int(word))

    cdef _Part path(self):
        cdef Py_ssize_t begin = self.at
        cdef list segments = [self.name()]
        self.rest(segments)
        if len(segments) == 1 and segments[0] in LITERALS:
            return _constant(LITERALS[segments[0]])
        if self.is_local:
            self.fail("a local expression refers to fields of the item: write @ before the name", begin)
        self.references.append(tuple(segments))
        if segments[0] == "$nodes":
            if len(segments) == 1:
                self.fail("$nodes needs a node: write $nodes.<id>.result", begin)
            del segments[0]
        return _path(segments, PATH, self.field, begin)

    cdef object rest(self, list segments):
        while True:
            if self.is_next(u"."):
                self.at += 1
                segments.append(self.name())
            elif self.is_next(u"["):
                segments.append(self.bracket())
            else:
                break
            if len(segments) > MAX_DEPTH:
                raise _error(f"a path has more than {MAX_DEPTH} segments", self.field, self.at, TOO_BIG)

    cdef str name(self):
        cdef Py_ssize_t begin = self.at
        while self.at < self.end and _is_name(self.source[self.at]):
            self.at += 1
        if self.at == begin:
            self.fail("a name is expected", begin)
        return self.source[begin:self.at]

    cdef str bracket(self):
        cdef Py_ssize_t begin
        cdef str word
        self.at += 1
        self.skip()
        if self.is_quote():
            word = self.string()
        else:
            begin = self.at
            while self.at < self.end and _is_digit(self.source[self.at]):
                self.at += 1
            word = self.source[begin:self.at]
            if not word:
                self.fail("a whole number from 0 or a quoted name is expected", begin)
        self.skip()
        if not self.is_next(u"]"):
            self.fail("] is expected", self.at)
        self.at += 1
        return word


cdef _Part _parse_text(str source, str field, list references, bint is_quoting):
    if len(source) > MAX_SOURCE:
        raise _error(f"a template is longer than {MAX_SOURCE} characters", field, MAX_SOURCE, TOO_BIG)
    return _Parser(source, field, references, False).text(is_quoting)


cdef _Part _parse_value(object value, str field, list references, str per_item, int depth):
    cdef list parts
    if depth > MAX_DEPTH:
        raise _error(f"a payload is nested deeper than {MAX_DEPTH}", field, 0, TOO_BIG)
    if isinstance(value, str):
        return _parse_text(value, field, references, per_item is not None and field == per_item)
    if isinstance(value, list):
        parts = [
            _parse_value(item, _join(field, str(n)), references, per_item, depth + 1) for n, item in enumerate(value)
        ]
        return _constant([(<_Part>p).value for p in parts]) if _all_constant(parts) else _many(LIST, parts, None, field, 0)
    if isinstance(value, dict):
        return _parse_dict(value, field, references, per_item, depth)
    return _constant(value)


cdef _Part _parse_dict(dict value, str field, list references, str per_item, int depth):
    """Parse an object. A whole expression as a key is a left operand where the object is a condition, else text."""
    cdef list keys = [], parts = []
    cdef bint is_condition = False
    cdef _Part key_part
    cdef bint here = field.split(".", 1)[0] in CONDITION_FIELDS
    for key, item in value.items():
        key_part = _parse_text(str(key), _join(field, str(key)), references, False)
        if _is_operand(key_part) and (here or _is_test(item)):
            is_condition = True
            key_part.is_left = True
        keys.append(key_part)
        parts.append(_parse_value(item, _join(field, str(key)), references, per_item, depth + 1))
    if _all_constant(keys) and _all_constant(parts):
        return _constant(_constant_dict(keys, parts))
    return _many(CONDITION if is_condition else DICT, parts, keys, field, 0)


cdef dict _constant_dict(list keys, list parts):
    return {_text((<_Part>key).value): (<_Part>part).value for key, part in zip(keys, parts)}


cdef bint _is_operand(_Part part):
    return part.kind == PATH or part.kind == FALLBACK


cdef bint _is_test(object value):
    return isinstance(value, dict) and bool(value) and all(str(key).startswith("$") for key in value)


cdef str _join(str field, str name):
    return f"{field}.{name}" if field else name


cdef bint _all_constant(list parts):
    cdef _Part part
    for part in parts:
        if part.kind != CONSTANT:
            return False
    return True
