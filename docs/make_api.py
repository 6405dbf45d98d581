"""The API pages, docs/api/, from the docstrings: one page a module, and an index. Reads source text, imports nothing of ours.

    python docs/make_api.py            writes them
    python docs/make_api.py --check    exits with 1 where they are not what the docstrings say

Paragraphs of a docstring become prose; those with indented lines (equations, tables, examples) stay as they are typed.
"""

import argparse
import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "api"
HEADER = "<!-- made by docs/make_api.py from the docstrings: change those -->\n"


def pages() -> dict[str, str]:
    """{file name: text} of every page."""
    made, index = {}, [HEADER, "# API\n", "Every module, in alphabetical order, from its docstrings.\n"]
    for path in sorted((ROOT / "attention_jax").glob("**/*.py"), key=module_name):
        name, source = module_name(path), path.read_text()
        module = ast.parse(source)
        made[f"{name}.md"] = page(name, module, source)
        index.append(f"- [{name}]({name}.md): {prose(first_sentence(ast.get_docstring(module)))}")
    return made | {"README.md": "\n".join(index) + "\n"}


def module_name(path: Path) -> str:
    """attention_jax/data/tasks/copy.py → attention_jax.data.tasks.copy; a folder's __init__.py is the folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def page(name: str, module: ast.Module, source: str) -> str:
    """The page of one module: its docstring, then what it defines and does not hide, in order."""
    parts = [HEADER, f"# {name}\n", docstring(module)]
    for node, following in zip(module.body, [*module.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            parts += [f"## {node.name}\n", code(signature(node)), docstring(node)]
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            parts += [f"## {node.name}\n", code(class_header(node, source)), docstring(node), *methods(node)]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and (said := text_of(following)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            parts += [f"## {ast.unparse(target)}\n", code(ast.get_source_segment(source, node)), markdown(said)]
    return "\n".join(part for part in parts if part)


def methods(node: ast.ClassDef) -> list[str]:
    """Those of a class that are documented and not hidden."""
    found = [method for method in node.body if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)]
    shown = [method for method in found if method.name == "__call__" or not method.name.startswith("_")]
    return [part for method in shown for part in (f"### {node.name}.{method.name}\n", code(signature(method)), docstring(method))]


def signature(node: ast.FunctionDef) -> str:
    """`def` line with decorators."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    decorators = "".join(f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list)
    return f"{decorators}def {node.name}({ast.unparse(node.args)}){returns}"


def class_header(node: ast.ClassDef, source: str) -> str:
    """`class` line with decorators, and the fields as they are typed, their comments included."""
    decorators = "".join(f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list)
    bases = f"({', '.join(ast.unparse(base) for base in node.bases)})" if node.bases else ""
    lines = source.splitlines()
    fields = [line for field in node.body if isinstance(field, ast.AnnAssign) for line in lines[field.lineno - 1 : field.end_lineno]]
    return "\n".join([f"{decorators}class {node.name}{bases}", *fields])


def docstring(node) -> str:
    """That of a module, class or function as Markdown; "" where it has none."""
    return markdown(ast.get_docstring(node) or "")


def text_of(node) -> str:
    """The string that an expression is, "" for anything else: what is said below an assignment."""
    said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value if said else ""


def first_sentence(text: str) -> str:
    """That of the first paragraph, on one line."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[.?])(?<!et al.) ", paragraph, maxsplit=1)[0].removesuffix(":")


def markdown(text: str) -> str:
    """Paragraphs: those with indented lines fenced as they are, neighbours in one fence, the others as prose."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if not paragraph.strip():
            continue
        if not re.search(r"^\s", paragraph, re.MULTILINE):
            out.append(prose(paragraph) + "\n")
        elif out and out[-1].startswith("```"):
            out[-1] = out[-1].removesuffix("```\n") + "\n" + code(textwrap.dedent(paragraph)).removeprefix("```python\n")
        else:
            out.append(code(textwrap.dedent(paragraph), "text"))
    return "\n".join(out)


def code(text: str, language: str = "python") -> str:
    """A fenced block."""
    return f"```{language}\n{text}\n```\n"


def prose(text: str) -> str:
    """What Markdown would take for markup, escaped outside of `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<\[\]|]|(?<!\w)_|_(?!\w))", r"\\\1", part) for part in parts)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is stale")
    check, made = parser.parse_args().check, pages()
    present = {path.name: path.read_text() for path in PAGES.glob("*.md")}
    stale = sorted(name for name in made.keys() | present.keys() if made.get(name) != present.get(name))
    if check:
        if stale:
            print(f"docs/api is stale: {', '.join(stale)}; run: python docs/make_api.py", file=sys.stderr)
        return 1 if stale else 0
    PAGES.mkdir(exist_ok=True)
    for name in stale:
        if name in made:
            (PAGES / name).write_text(made[name])
        else:
            (PAGES / name).unlink()
    print(f"docs/api: {len(made)} pages, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
