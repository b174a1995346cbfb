"""Replay on the screen: keys move the walker, and what it shows is drawn; alone imports Textual."""

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from service.errors import TidemarkError
from service.terminal import layout
from service.terminal.replay import picture
from service.terminal.replay.picture import Size
from service.terminal.replay.walker import Walker

ReadTime = Callable[[str], int]

_MOVES: dict[str, tuple[str, Callable[[Walker], object]]] = {
    "left": ("left", lambda walker: walker.beside(is_later=False)),
    "right": ("right", lambda walker: walker.beside(is_later=True)),
    "column_left": ("comma,ctrl+left", lambda walker: walker.columns_on(-1)),
    "column_right": ("full_stop,ctrl+right", lambda walker: walker.columns_on(1)),
    "screen_left": ("pageup,shift+left", lambda walker: walker.screen_on(is_later=False)),
    "screen_right": ("pagedown,shift+right", lambda walker: walker.screen_on(is_later=True)),
    "zoom_in": ("plus,equals_sign", lambda walker: walker.zoomed(-1)),
    "zoom_out": ("minus", lambda walker: walker.zoomed(1)),
    "next_landmark": ("n", lambda walker: walker.landmark(is_later=True)),
    "prior_landmark": ("p", lambda walker: walker.landmark(is_later=False)),
    "next_found": ("N", lambda walker: walker.found(is_later=True)),
    "prior_found": ("P", lambda walker: walker.found(is_later=False)),
    "next_metric": ("m", lambda walker: walker.next_metric()),
    "prior_metric": ("M", lambda walker: walker.next_metric(-1)),
    "users": ("s", lambda walker: walker.next_users()),
    "home": ("home", lambda walker: walker.home()),
    "end": ("end,l", lambda walker: walker.end()),
}


class ReplayApp(App[None]):
    """Shows where a walker stands. Names of processes are hostile: they are Text, never markup."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS = """
    Screen { background: ansi_default; color: ansi_default; layout: vertical; overflow: hidden; }
    #picture { height: 1fr; width: 100%; overflow: hidden; }
    #last { height: 1; width: 100%; }
    #asked { display: none; height: 1; border: none; padding: 0; background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(keys, f"move('{name}')", name) for name, (keys, _) in _MOVES.items()),
        Binding("tab", "move('next_metric')", priority=True),
        Binding("slash", "ask('name')"),
        Binding("g", "ask('time')"),
        Binding("question_mark", "help"),
        Binding("escape", "shut"),
        Binding("q", "quit"),
        Binding("ctrl+c", "quit", priority=True),
    ]

    def __init__(
        self, walker: Walker, host: str, write: Callable[[object], str], read_time: ReadTime, follow_seconds: float
    ) -> None:
        """`host`: what the first line begins with. `read_time`: unix seconds of what people type. `follow_seconds`: how
        often is looked for what is new, where the newest is followed.

        Exceptions that no key should have caused are kept in `failure`, for whoever runs it to raise.
        """
        super().__init__(ansi_color=True)
        self._walker, self._host, self._write, self._read_time = walker, host, write, read_time
        self._follow_seconds = follow_seconds
        self._asks = ""
        self._has_help = False
        self.failure: Exception | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="picture", markup=False)
        yield Static(id="last", markup=False)
        yield Input(id="asked", select_on_focus=False)

    def on_mount(self) -> None:
        self.set_focus(None)
        self._do(lambda: None)
        self.set_interval(self._follow_seconds, self._follow)

    def on_resize(self, _: events.Resize) -> None:
        self._do(lambda: None)

    def on_key(self, event: events.Key) -> None:
        if self._has_help and event.key not in ("question_mark", "escape", "q"):
            self.action_shut()
            event.prevent_default()

    # -- keys

    def action_move(self, name: str) -> None:
        if self._asks:
            return
        self._has_help = False
        self._do(lambda: _MOVES[name][1](self._walker))

    def action_help(self) -> None:
        self._has_help = not self._has_help
        self._do(lambda: None)

    def action_shut(self) -> None:
        """Close what was asked, or the help."""
        self._asks, self._has_help = "", False
        self._close()
        self._do(lambda: None)

    def action_ask(self, what: str) -> None:
        """For a name or a time, in the last line."""
        self._asks, self._has_help = what, False
        asked = self.query_one("#asked", Input)
        asked.value = ""
        asked.placeholder = (
            "name, or a part of it" if what == "name" else "time, like 03:12, yesterday, 2026-01-31T12:00, -90m"
        )
        asked.display, self.query_one("#last").display = True, False
        asked.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        what, text = self._asks, event.value
        self._asks = ""
        self._close()
        self._do(lambda: self._walker.find(text) if what == "name" else self._go(text))

    def _go(self, text: str) -> None:
        if not text.strip():
            return
        try:
            ts = self._read_time(text)
        except ValueError:
            self._walker.message = f"no time: {layout.cut(text, 20)}; like 03:12, yesterday, 2026-01-31T12:00, -90m"
            return
        self._walker.go(ts)

    def _close(self) -> None:
        self.query_one("#asked").display, self.query_one("#last").display = False, True
        self.set_focus(None)

    # -- drawing

    def _follow(self) -> None:
        # While the program ends the timer may ring once more, when the widgets are gone.
        if self._walker.latest is not None and self.query("#picture"):
            self._do(self._walker.follow)

    def _do(self, move: Callable[[], object]) -> None:
        try:
            size = Size(self.size.width, self.size.height)
            self._walker.resized(size.columns)
            try:
                move()
                self._draw(size)
            except TidemarkError as error:
                # The file may be away while it is being put back: the next key tries again.
                self._show_last(layout.Line([layout.Part(layout.cut(str(error), size.width), "bold red")]), size)
        except Exception as error:  # noqa: BLE001 - Textual would show a traceback; people see one line
            self.failure = error
            self.exit()

    def _draw(self, size: Size) -> None:
        shown = self._walker.shown(size.names)
        blocks = picture.keys(size.width) if self._has_help else picture.picture(shown, self._host, self._write, size)
        self.query_one("#picture", Static).update(layout.drawn(blocks, size.width))
        self._show_last(picture.last_line(shown, size.width), size)

    def _show_last(self, line: layout.Line, size: Size) -> None:
        self.query_one("#last", Static).update(layout.drawn([line], size.width))
