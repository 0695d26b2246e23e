"""Headers to facts: what libclang finds in a vendor's C headers, without any opinion on how Python should see it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clang.cindex import Config, Cursor, CursorKind, Index, StorageClass, TranslationUnit, Type, TypeKind

from tools.bindgen.libraries import Library

#: Headers that the vendor's own headers include but that come with the compiler. Nothing of them is bound.
STANDINS = ("nv/target",)

#: Scalars by the letters of Python's module struct.
LETTERS = {
    TypeKind.BOOL: "?", TypeKind.CHAR_S: "b", TypeKind.CHAR_U: "B", TypeKind.SCHAR: "b", TypeKind.UCHAR: "B",
    TypeKind.SHORT: "h", TypeKind.USHORT: "H", TypeKind.INT: "i", TypeKind.UINT: "I", TypeKind.LONG: "q",
    TypeKind.ULONG: "Q", TypeKind.LONGLONG: "q", TypeKind.ULONGLONG: "Q", TypeKind.FLOAT: "f", TypeKind.DOUBLE: "d",
    TypeKind.VOID: "v",
}  # fmt: skip


def read(library: Library, folder: Path) -> dict[str, Any]:
    """The facts on one library, ready for JSON."""
    told = _told(library, folder)
    unit = _parse(library.headers, told)
    every = [cursor for cursor in unit.cursor.get_children() if cursor.location.file]
    mine = [cursor for cursor in every if Path(cursor.location.file.name).name in library.owns]
    return {
        "version": ".".join(str(n) for n in _version(library, told)),
        "functions": {
            c.spelling: _function(c)
            for c in mine
            if c.kind == CursorKind.FUNCTION_DECL
            # one that is defined in the header the library does not have
            and c.storage_class != StorageClass.STATIC
            and not c.is_definition()
            and re.match(library.functions, c.spelling)
        },
        "enums": dict(sorted(_enums(library, mine))),
        "structs": dict(sorted(_structs(library, mine))),
        "constants": _constants(library, unit, told),
        "variables": sorted(
            c.spelling for c in mine if c.kind == CursorKind.VAR_DECL and re.match(library.variables, c.spelling)
        ),
    }


# What libclang is told.


def _told(library: Library, folder: Path) -> list[str]:
    """Where a library's headers are, and what its words mean that C does not have."""
    include = [*([folder / library.folder] if library.folder else []), folder]
    return [*(word for of in include for word in ("-I", str(of))), *(f"-D{name}" for name in library.defines)]


def _arguments(told: list[str], standins: Path) -> list[str]:
    compiler = subprocess.run(["gcc", "-print-file-name=include"], capture_output=True, text=True, check=True)
    return ["-x", "c", "-std=gnu11", "-isystem", compiler.stdout.strip(), *told, "-idirafter", str(standins)]


def _translate(source: str, told: list[str], options: int = 0) -> TranslationUnit:
    with tempfile.TemporaryDirectory() as folder:
        for name in STANDINS:
            standin = Path(folder, name)
            standin.parent.mkdir(parents=True, exist_ok=True)
            standin.touch()
        return Index.create().parse(
            "all.h", _arguments(told, Path(folder)), unsaved_files=[("all.h", source)], options=options
        )


def _parse(headers: Iterable[str], told: list[str]) -> TranslationUnit:
    source = "".join(f"#include <{header}>\n" for header in headers)
    unit = _translate(source, told, TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
    errors = [str(d) for d in unit.diagnostics if d.severity >= d.Error]
    if errors:
        raise SystemExit("the headers do not compile:\n" + "\n".join(errors))
    return unit


# Types.


def _code(kind: Type) -> str:
    """A type as a letter, ``>`` or ``<`` and the pointee's code for a pointer to mutable or constant, ``{struct}``.

    A pointer to something without a size that is known (an opaque handle's struct, a function) is plain ``P``.
    """
    spelled, kind = kind, kind.get_canonical()
    if kind.kind in LETTERS:
        return LETTERS[kind.kind]
    if kind.kind == TypeKind.ENUM:
        return _code(kind.get_declaration().enum_type)
    if kind.kind == TypeKind.RECORD:
        return "{" + _record_name(kind.get_declaration(), spelled) + "}"
    if kind.kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):  # whose qualifiers are its elements'
        return _pointer(kind.get_array_element_type(), kind.is_const_qualified())
    if kind.kind == TypeKind.POINTER:
        return _pointer(kind.get_pointee())
    raise SystemExit(f"no code for the type {kind.spelling} ({kind.kind})")


def _pointer(pointee: Type, const: bool = False) -> str:
    canonical = pointee.get_canonical()
    if canonical.kind in (TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO):
        return "P"
    if canonical.kind == TypeKind.RECORD and canonical.get_size() < 0:
        return "P"
    if canonical.kind == TypeKind.POINTER or canonical.kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
        code = "P"
    else:
        code = _code(pointee)
    return ("<" if const or canonical.is_const_qualified() else ">") + code


def _record_name(declaration: Cursor, kind: Type) -> str:
    name = declaration.spelling
    if not name or "(" in name or " " in name:  # anonymous: the typedef that was written is its name
        name = kind.spelling
    return name.removeprefix("const ").removeprefix("struct ").removeprefix("union ")


# Declarations.


def _function(cursor: Cursor) -> list[str]:
    """What it returns, then its parameters: each as C declares it, and after a semicolon the type's code."""
    declarations = [f"{_spelling(cursor.result_type)}; {_code(cursor.result_type)}"]
    for n, argument in enumerate(cursor.get_arguments()):
        name, spelled = argument.spelling or f"argument{n}", _spelling(argument.type)
        if spelled.endswith("[]"):
            spelled, name = spelled.removesuffix("[]").rstrip(), f"{name}[]"
        declarations.append(f"{spelled}{'' if spelled.endswith('*') else ' '}{name}; {_code(argument.type)}")
    return declarations


def _spelling(kind: Type) -> str:
    return re.sub(r"\b(enum|struct) |(?<=\w) (?=\[)", "", re.sub(r"\s+", " ", kind.spelling))


def _typedefs(declarations: list[Cursor]) -> dict[str, str]:
    """The name that a typedef gives to an enum or struct, by how libclang identifies it."""
    found: dict[str, str] = {}
    for cursor in declarations:
        if cursor.kind == CursorKind.TYPEDEF_DECL:
            declaration = cursor.underlying_typedef_type.get_canonical().get_declaration()
            if declaration.kind in (CursorKind.ENUM_DECL, CursorKind.STRUCT_DECL, CursorKind.UNION_DECL):
                found.setdefault(declaration.get_usr(), cursor.spelling)
    return found


def _enums(library: Library, declarations: list[Cursor]) -> Iterator[tuple[str, Any]]:
    names = _typedefs(declarations)
    for cursor in declarations:
        if cursor.kind != CursorKind.ENUM_DECL or not cursor.is_definition():
            continue
        name = names.get(cursor.get_usr()) or cursor.spelling
        if not re.match(library.types, name):
            continue
        members = [[m.spelling, m.enum_value, _documented_type(m)] for m in cursor.get_children()
                   if m.kind == CursorKind.ENUM_CONSTANT_DECL]  # fmt: skip
        typed = any(kind for _, _, kind in members)
        yield name, [member if typed else member[:2] for member in members]


#: How a line of a comment begins that says of what type an attribute is.
_DOCUMENTED = re.compile(
    r"((?:const )?void ?\*|u?int(?:8|16|32|64)_t|size_t|float|double|cutensor\w+_t)\s*(?:[,:.;]|$)"
)


def _documented_type(member: Cursor) -> str | None:
    """The type of an attribute where the comment on it has a line that begins with one; the last such line counts."""
    for line in reversed((member.raw_comment or "").splitlines()):
        if match := _DOCUMENTED.match(line.strip(" */<\t")):
            return match[1]
    return None


def _structs(library: Library, declarations: list[Cursor]) -> Iterator[tuple[str, Any]]:
    names = _typedefs(declarations)
    for cursor in declarations:
        if cursor.kind not in (CursorKind.STRUCT_DECL, CursorKind.UNION_DECL) or not cursor.is_definition():
            continue
        name = cursor.spelling
        if not name or "(" in name or " " in name:
            name = names.get(cursor.get_usr(), "")
        if name and re.match(library.types, name):
            yield name, {"size": cursor.type.get_size(), "fields": list(_fields(cursor.type, 0))}


def _fields(kind: Type, base: int) -> Iterator[list[Any]]:
    """``[name, code, offset in bytes, lengths of an array]``; the members of anonymous members stand in their place."""
    declaration = kind.get_canonical().get_declaration()
    for field in declaration.get_children():
        if field.kind == CursorKind.FIELD_DECL:
            offset, lengths, element = base + field.get_field_offsetof() // 8, [], field.type
            if field.is_bitfield():
                continue
            while element.get_canonical().kind == TypeKind.CONSTANTARRAY:
                element = element.get_canonical()
                lengths.append(element.element_count)
                element = element.get_array_element_type()
            canonical = element.get_canonical()
            if canonical.kind == TypeKind.RECORD and canonical.get_declaration().is_anonymous():
                inner = list(_fields(canonical, 0))
                yield [field.spelling, {"size": canonical.get_size(), "fields": inner}, offset, lengths]
            else:
                code = _code(element)
                yield [field.spelling, "P" if code[0] in "<>" else code, offset, lengths]
        elif field.is_anonymous() and not _has_field_of(declaration, field):  # its members are as if the outer one's
            yield from _fields(field.type, base + _offset_of_anonymous(declaration, field))


def _has_field_of(declaration: Cursor, record: Cursor) -> bool:
    for child in declaration.get_children():
        if child.kind == CursorKind.FIELD_DECL:
            element = child.type.get_canonical()
            while element.kind == TypeKind.CONSTANTARRAY:
                element = element.get_array_element_type().get_canonical()
            if element.get_declaration() == record:
                return True
    return False


def _offset_of_anonymous(outer: Cursor, inner: Cursor) -> int:
    for field in inner.get_children():
        if field.kind == CursorKind.FIELD_DECL:
            return outer.type.get_offset(field.spelling) // 8 - inner.type.get_offset(field.spelling) // 8
    return 0


# Macros.

_VERSION = re.compile(r"_(VER_\w+|VERSION\w*|MAJOR|MINOR|PATCH)$")


def _constants(library: Library, unit: TranslationUnit, told: list[str]) -> dict[str, int]:
    """The object-like macros that are integers."""
    names = []
    for cursor in unit.cursor.get_children():
        if cursor.kind != CursorKind.MACRO_DEFINITION or not cursor.location.file:
            continue
        if Path(cursor.location.file.name).name not in library.owns or not re.match(library.constants, cursor.spelling):
            continue
        tokens = [t.spelling for t in cursor.get_tokens()]
        if len(tokens) > 1 and re.match(r"[-(\d]|CU|cuda", tokens[1]) and not _is_function_like(cursor):
            names.append(cursor.spelling)
    values = _evaluate(library.headers, [name for name in names if not _VERSION.search(name)], told)
    return {name: values[name] for name in sorted(values)}


def _is_function_like(cursor: Cursor) -> bool:
    tokens = list(cursor.get_tokens())
    if len(tokens) < 2 or tokens[1].spelling != "(":
        return False
    return tokens[1].extent.start.offset == tokens[0].extent.end.offset


def _evaluate(headers: Iterable[str], names: list[str], told: list[str]) -> dict[str, int]:
    """The values of macros. One that is no integer makes an error on its own line, and is left out."""
    first = "".join(f"#include <{header}>\n" for header in headers)
    lines = [f"enum {{ planmath_{name} = (long long)({name}) }};" for name in names]
    unit = _translate(first + "\n".join(lines) + "\n", told)
    start = first.count("\n") + 1
    bad = {d.location.line - start for d in unit.diagnostics if d.severity >= d.Error}
    values = {}
    for cursor in unit.cursor.get_children():
        if cursor.kind == CursorKind.ENUM_DECL and cursor.location.line >= start:
            for member in cursor.get_children():
                name = member.spelling.removeprefix("planmath_")
                if name in names and names.index(name) not in bad:
                    values[name] = member.enum_value
    return values


def _version(library: Library, told: list[str]) -> list[int]:
    values = _evaluate(library.headers, list(library.version), told)
    numbers = [values[name] for name in library.version]
    return numbers if len(numbers) > 1 else [numbers[0] // 1000, numbers[0] % 1000 // 10]


def use_libclang(path: str | None) -> None:
    """Take this libclang instead of the one that the package libclang brings."""
    if path:
        Config.set_library_file(path)
