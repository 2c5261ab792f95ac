"""Seer for Python 3.10 or newer: one file over the C interface (seer/seer.h), which needs nothing but the standard library.

    import seer
    with seer.Engine("examples/demo-model/model", "examples/demo-model/gates") as engine:
        for piece in engine.stream("It was a bright morning", max_new_tokens=64):
            print(piece, end="", flush=True)

README.md next to this file shows the rest. The shared library is the file that `library` or SEER_LIBRARY names, and
otherwise the one that the system's loader finds as libseer_engine.so.0.

Threads. Many threads may use an engine at once. A session or a stream may be used by one thread at a time; only cancel() may
be called by any thread. Callbacks run on a thread of the engine's or of the session's, so they must be quick and must not wait
for another request. An exception in a callback ends its request, and is raised again when that request is waited for.

Lifetimes. close(), or the end of a `with`, frees what the library holds. Objects that are not closed are freed together with
Python's, at the latest when the interpreter ends. Results are copies, which stay valid; the arguments of on_logits do not."""
from __future__ import annotations

import array
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import json
import os
import queue
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

if TYPE_CHECKING:
    from typing import Unpack  # Python 3.11; type checkers alone look here

__all__ = ["Engine", "EngineInfo", "EngineStatistics", "Error", "Message", "RequestOptions", "Result", "Session", "Statistics",
           "Stream", "TokenLogprobs", "version"]

Message = Mapping[str, Any]  # {"role": "user", "content": "..."}, as in OpenAI's chat API


class Error(Exception):
    """An error of the engine, with its message. `kind` is a name of seer_status: "usage", "file", "unsupported", "memory",
    "device", "cancelled" or "runtime"; or "library", if libseer_engine itself could not be used."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# --- The C interface. The structs are in the header's order; a test compares them with the header. ---

_TYPES: dict[str, Any] = {
    "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t,
    "double": ctypes.c_double, "float": ctypes.c_float, "text": ctypes.c_char_p, "pointer": ctypes.c_void_p}


def _struct(name: str, *declarations: str) -> type[ctypes.Structure]:
    fields = [(field, _TYPES[kind]) for kind, *names in map(str.split, declarations) for field in names]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


_Options = _struct(
    "seer_engine_options", "size_t size", "text model_dir gates_dir random_config device", "int32_t threads",
    "int64_t ctx_size chunk_size", "double gpu_memory_utilization", "pointer user on_load on_log",
    "int64_t mixed_chunk_size max_batch_size pool_size", "int32_t no_prefix_cache", "pointer ranks", "int32_t rank_split",
    "text kv_cache_dtype weights activations more_gates_dir disk_cache_dir", "int64_t disk_cache_bytes host_cache_bytes")
_Info = _struct(
    "seer_engine_info", "size_t size", "text device architecture default_rule chat_template",
    "int64_t ctx_size chunk_size page_tokens n_pages kv_bytes n_vocab n_layers n_heads n_kv_heads d_head d_model",
    "int64_t n_params n_bytes",
    "int32_t has_gates has_tokenizer", "int64_t mixed_chunk_size max_batch_size n_ranks", "int32_t rank_split",
    "pointer stop_ids stop_id_sources", "size_t n_stop_ids", "text kv_cache_dtype activations default_decode_rule",
    "int64_t decode_start_layer", "int32_t has_decode_gates")
_ChatPrompt = _struct("seer_chat_prompt", "size_t size", "text messages tools kwargs chat_template",
                      "int32_t add_generation_prompt continue_final_message", "int64_t now")
_Sampling = _struct(
    "seer_sampling", "size_t size", "double temperature", "int64_t top_k",
    "double top_p min_p repeat_penalty presence_penalty frequency_penalty", "int64_t repeat_last_n", "uint64_t seed",
    "int32_t has_seed", "pointer bias_ids bias_values", "size_t n_biases")
_Request = _struct(
    "seer_request", "size_t size", "pointer prompt", "size_t n_prompt", "int64_t max_new_tokens", "pointer sampling stop",
    "size_t n_stop", "text sparse", "int32_t ignore_eos", "pointer user on_token on_progress on_end stop_token_ids",
    "size_t n_stop_token_ids", "int64_t min_new_tokens", "int32_t has_logprobs has_prompt_logprobs",
    "int64_t n_logprobs n_prompt_logprobs", "pointer on_logits", "text sparse_decode")
_Progress = _struct("seer_progress", "int64_t total cached processed", "double time_ms")
_Logprob = _struct("seer_logprob", "int32_t id", "float logprob")
_Position = type("seer_position_logprobs", (ctypes.Structure,),
                 {"_fields_": [("token", _Logprob), ("top", ctypes.c_void_p), ("n_top", ctypes.c_size_t)]})
_Result = _struct(
    "seer_result", "size_t size", "int32_t finish", "pointer tokens", "size_t n_tokens", "pointer text", "size_t text_size",
    "text stop", "int64_t n_prompt n_cached n_generated prefill_ns decode_ns attention_ns gate_ns", "double density",
    "int64_t moved_pages movable_pages stop_id", "pointer logprobs", "size_t n_logprobs", "pointer prompt_logprobs",
    "size_t n_prompt_logprobs", "double decode_density", "int64_t n_from_host n_from_disk restore_ns")
_Tier = _struct(
    "seer_tier_stats",
    "int64_t n_pages n_bytes saved_pages lost_pages restored_pages restored_tokens restored_bytes restore_ns failed_pages")
_TYPES["seer_tier_stats"] = _Tier
_Stats = _struct(
    "seer_engine_stats", "size_t size", "int64_t n_waiting n_running pages_total pages_used pages_cached",
    "int64_t n_requests n_finished n_cancelled n_failed n_preempted prompt_tokens cached_tokens generated_tokens n_steps",
    "seer_tier_stats host_cache disk_cache", "int64_t restore_saved_ns refused_tokens")

_FINISH = ("length", "eos", "stop_string", "context_full", "cancelled", "stop_token")  # seer_finish
_ADD_SPECIAL, _PARSE_SPECIAL = 1, 2
# The functions that do not return a status, with the type that they return.
_RETURNS = {"version": ctypes.c_char_p, "status_name": ctypes.c_char_p, "last_error": ctypes.c_char_p, "free": None,
            "engine_free": None, "session_free": None, "session_cancel": None, "generation_free": None,
            "generation_cancel": None}
_STATUS = ("engine_options_init", "engine_load", "engine_get_info", "engine_get_stats", "engine_check", "encode",
           "chat_prompt_init", "encode_chat_prompt", "render_chat", "decode", "sampling_init", "request_init", "session_new",
           "session_generate", "session_reset", "session_tokens", "session_save", "session_load", "engine_submit",
           "generation_wait")


class _Library:
    def __init__(self, path: str) -> None:
        try:
            library = ctypes.CDLL(path)
            for name in (*_RETURNS, *_STATUS):
                setattr(self, name, getattr(library, f"seer_{name}"))
                getattr(self, name).restype = _RETURNS.get(name, ctypes.c_int)
        except (OSError, AttributeError) as error:
            raise Error("library", f"libseer_engine cannot be used: {error}. Expected the shared library of Seer 0.2 or newer. "
                        "Build it (cmake --build --preset release --target seer_engine_shared, into build/release/engine) or "
                        "install it, and name its file by the argument `library` or by SEER_LIBRARY.") from None

    def __getattr__(self, name: str) -> Any:  # tells type checkers that there are functions, named as in C without seer_
        raise AttributeError(name)

    def check(self, status: int) -> None:
        if status != 0:
            raise Error(self.status_name(status).decode(), self.last_error().decode("utf-8", "replace"))

    def prepared(self, struct: type[ctypes.Structure], *arguments: Any) -> ctypes.Structure:
        """Returns a struct with its defaults, which seer_request_init sets in a seer_request, and so on."""
        made = struct()
        initialise = getattr(self, f"{struct.__name__.removeprefix('seer_')}_init")
        self.check(initialise(ctypes.byref(made), ctypes.c_size_t(ctypes.sizeof(made)), *arguments))
        return made

    def taken(self, kind: Any, pointer: ctypes.c_void_p, count: int) -> Any:
        """Copies what the library has allocated, and lets the library free that."""
        try:
            return ctypes.string_at(pointer, count).decode() if kind is str else _copied(kind, pointer.value, count)
        finally:
            self.free(pointer)


_libraries: dict[str, _Library] = {}
_libraries_lock = threading.Lock()


def _find_library(path: str | os.PathLike[str] | None) -> _Library:
    name = os.fspath(path) if path is not None else os.environ.get("SEER_LIBRARY") or "libseer_engine.so.0"
    if os.path.exists(name):
        name = os.path.abspath(name)  # the loader would look for a bare name in its own folders only
    with _libraries_lock:
        if name not in _libraries:
            _libraries[name] = _Library(name)
        return _libraries[name]


def version(library: str | os.PathLike[str] | None = None) -> str:
    """Returns the version of the library that Engine would use."""
    return str(_find_library(library).version().decode())


def _copied(kind: Any, address: int | None, count: int) -> list[Any]:
    return (kind * count).from_address(address)[:] if address and count else []


def _integers(ids: Sequence[int]) -> Any:
    """Returns the ids as an array. Raises OverflowError for an id beyond int32, which ctypes would truncate silently."""
    return (ctypes.c_int32 * len(ids)).from_buffer(array.array("i", ids)) if ids else None


def _text(text: str | os.PathLike[str] | None) -> bytes | None:
    if text is None:
        return None
    encoded = text.encode() if isinstance(text, str) else os.fsencode(text)
    if b"\0" in encoded:
        raise Error("usage", f"expected a text without zero bytes, found {text!r}")
    return encoded


def _json(value: Any) -> bytes | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _set(struct: ctypes.Structure, name: str, value: Any) -> None:
    setattr(struct, name, value)
    if isinstance(value, int) and getattr(struct, name) != value:
        raise OverflowError(f"{name}: {value} is beyond the range of its type")


# --- Callbacks. The library gets one function for each kind of callback, which lives as long as this module, and a number as
# `user`, by which the task is looked up. So no callback is called after it was freed, however late the engine's thread is. ---

class _Task:
    """The state of a request that its callbacks use."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.on_token, self.on_progress = options.get("on_token"), options.get("on_progress")
        self.on_logits = options.get("on_logits")
        self.pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # None follows the last piece
        self.error: BaseException | None = None
        self.stopped = False
        self.key = next(_keys)
        _tasks[self.key] = self

    def end(self) -> None:
        _tasks.pop(self.key, None)
        self.pieces.put(None)

    def take(self, token: int, text: str) -> object:
        if text:
            self.pieces.put(text)
        return not self.stopped and (self.on_token is None or self.on_token(token, text))

    def progress(self, at: Any) -> object:
        return not self.stopped and (self.on_progress is None or self.on_progress(at.processed, at.total, at.cached))


_keys = itertools.count(1)
_tasks: dict[int, Any] = {}  # requests, and engines' callbacks, by the numbers that the library has as `user`
_inside = threading.local()  # its `depth` is the number of callbacks that run on this thread


def _called(key: int, body: Callable[[Any], object]) -> int:
    """Runs a callback, from which no exception may reach the library. Returns 0 to stop the request, else 1."""
    task = _tasks.get(key)
    if task is None:
        return 0
    _inside.depth = getattr(_inside, "depth", 0) + 1
    try:
        return 0 if body(task) is False else 1
    except BaseException as error:  # KeyboardInterrupt too; the thread that waits for the request raises it again
        task.error = task.error or error
        return 0
    finally:
        _inside.depth -= 1


class _Callbacks:
    """The callbacks of an engine."""

    def __init__(self, on_load: Callable[[int, int], object] | None, on_log: Callable[[str, str], object] | None) -> None:
        self.on_load, self.on_log = on_load or (lambda done, total: None), on_log or (lambda level, message: None)
        self.error: BaseException | None = None
        self.key = next(_keys)
        _tasks[self.key] = self

    def log(self, level: str, message: str) -> None:
        try:
            self.on_log(level, message)
        except Exception:  # no thread waits for a log message, so none could raise this again
            traceback.print_exc()


def _take_token(user: int, token: int, text: int, size: int) -> int:
    return _called(user, lambda task: task.take(token, ctypes.string_at(text, size).decode("utf-8", "replace")))


def _show_logits(user: int, tokens: int, n_tokens: int, logits: int, n_vocab: int) -> int:
    return _called(user, lambda task: task.on_logits((ctypes.c_int32 * n_tokens).from_address(tokens),
                                                     (ctypes.c_float * n_vocab).from_address(logits)))


def _finish(user: int) -> None:
    _called(user, lambda task: task.end())


def _log(user: int, level: int, message: bytes) -> None:
    _called(user, lambda task: task.log("warning" if level else "info", message.decode("utf-8", "replace")))


_P, _INT, _INT64, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t
_on_token = ctypes.CFUNCTYPE(_INT, _P, ctypes.c_int32, _P, _SIZE)(_take_token)
_on_progress = ctypes.CFUNCTYPE(_INT, _P, _P)(
    lambda user, at: _called(user, lambda task: task.progress(_Progress.from_address(at))))
_on_logits = ctypes.CFUNCTYPE(_INT, _P, _P, _SIZE, _P, _SIZE)(_show_logits)
_on_end = ctypes.CFUNCTYPE(None, _P)(_finish)
_on_load = ctypes.CFUNCTYPE(_INT, _P, _INT64, _INT64)(
    lambda user, done, total: _called(user, lambda task: task.on_load(done, total)))
_on_log = ctypes.CFUNCTYPE(None, _P, _INT, ctypes.c_char_p)(_log)


def _address(function: Any) -> int | None:
    return ctypes.cast(function, _P).value


def _release(free: Callable[[], None]) -> None:
    # Python may free an object while a callback runs on the engine's thread. An engine must not be freed on that thread.
    if getattr(_inside, "depth", 0):
        threading.Thread(target=free).start()
    else:
        free()


class _Handle:
    """Owns a handle of the library. It is freed once: by close(), with the object, or when the interpreter ends."""

    def __init__(self, handle: ctypes.c_void_p, free: Callable[[], None]) -> None:
        self._pointer: ctypes.c_void_p | None = handle
        self._free = weakref.finalize(self, _release, free)

    @property
    def _handle(self) -> ctypes.c_void_p:
        if self._pointer is None:
            raise Error("usage", f"the {type(self).__name__.strip('_').lower()} is closed")
        return self._pointer

    def close(self) -> None:
        """Frees what the library holds for this object. A second call does nothing."""
        self._pointer = None
        self._free()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Self = TypeVar("_Self", bound=_Handle)


# --- Results. ---

@dataclasses.dataclass(frozen=True)
class TokenLogprobs:
    token: int
    logprob: float
    top: list[tuple[int, float]]  # the likeliest tokens at this position, the likeliest first


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Counts and times (in seconds) of one request. The prefill computed n_prompt tokens and reused n_cached."""
    n_prompt: int
    n_cached: int
    n_generated: int
    prefill: float
    decode: float  # from the first token to the last
    attention: float  # the part of `prefill` spent in attention
    gate: float  # the part of `prefill` spent in gates: scores, selection, and the operation that rotates, stores and pools
    density: float  # the share of the prompt's causal blocks that attention computed; 1.0: all of them
    decode_density: float  # the share of blocks that decoded tokens attended to, in layers in which gates choose; 1.0: all
    moved_pages: int
    movable_pages: int
    n_from_host: int  # how many of n_cached came from the tier in the host's memory
    n_from_disk: int  # how many of n_cached came from the tier on disk
    restore: float  # the part of `prefill` in which pages were read from these tiers


@dataclasses.dataclass(frozen=True)
class Result:
    text: str
    tokens: list[int]  # without the token that ended the answer
    finish: str  # "length", "eos", "stop_string", "context_full", "cancelled" or "stop_token"
    stop: str  # the stop string that ended the answer
    stop_id: int  # the token that ended the answer, or -1
    statistics: Statistics
    logprobs: list[TokenLogprobs]  # of the answer, if n_logprobs was given
    prompt_logprobs: list[TokenLogprobs]  # of the prompt, if n_prompt_logprobs was given


@dataclasses.dataclass(frozen=True)
class EngineInfo:
    """A copy of seer_engine_info. Its comments in seer/seer.h say more."""
    device: str
    architecture: str
    default_rule: str
    default_decode_rule: str
    decode_start_layer: int
    chat_template: str
    ctx_size: int
    chunk_size: int
    page_tokens: int
    n_pages: int
    kv_bytes: int
    n_vocab: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    n_params: int
    n_bytes: int
    has_gates: bool  # gates for prompts
    has_decode_gates: bool  # gates for decoding
    has_tokenizer: bool
    mixed_chunk_size: int
    max_batch_size: int
    kv_cache_dtype: str
    activations: str
    stop_ids: list[int]


@dataclasses.dataclass(frozen=True)
class TierStatistics:
    """A copy of seer_tier_stats: what a tier below the pool holds, and what it has done since the model was loaded."""
    n_pages: int
    n_bytes: int
    saved_pages: int
    lost_pages: int
    restored_pages: int
    restored_tokens: int
    restored_bytes: int
    restore: float  # seconds that reading the restored pages took
    failed_pages: int


@dataclasses.dataclass(frozen=True)
class EngineStatistics:
    """A copy of seer_engine_stats: the current numbers of requests and pages, and sums since the model was loaded."""
    n_waiting: int
    n_running: int
    pages_total: int
    pages_used: int
    pages_cached: int
    n_requests: int
    n_finished: int
    n_cancelled: int
    n_failed: int
    n_preempted: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    n_steps: int
    host_cache: TierStatistics
    disk_cache: TierStatistics
    restore_saved: float  # the seconds that computing was expected to take, minus those that restoring took instead
    refused_tokens: int  # tokens that a tier had, but that were computed because that was expected to be faster


def _logprobs(address: int | None, count: int) -> list[TokenLogprobs]:
    return [TokenLogprobs(at.token.id, at.token.logprob, [(top.id, top.logprob) for top in _copied(_Logprob, at.top, at.n_top)])
            for at in _copied(_Position, address, count)]


def _result_of(raw: Any) -> Result:
    counts = {name: getattr(raw, name) for name in (
        "n_prompt", "n_cached", "n_generated", "density", "decode_density", "moved_pages", "movable_pages",
        "n_from_host", "n_from_disk")}
    times = {name: getattr(raw, f"{name}_ns") * 1e-9 for name in ("prefill", "decode", "attention", "gate", "restore")}
    return Result(text=ctypes.string_at(raw.text, raw.text_size).decode("utf-8", "replace"),
                  tokens=_copied(ctypes.c_int32, raw.tokens, raw.n_tokens), finish=_FINISH[raw.finish],
                  stop=raw.stop.decode("utf-8", "replace"), stop_id=raw.stop_id, statistics=Statistics(**counts, **times),
                  logprobs=_logprobs(raw.logprobs, raw.n_logprobs),
                  prompt_logprobs=_logprobs(raw.prompt_logprobs, raw.n_prompt_logprobs))


# --- Requests. ---

class RequestOptions(TypedDict, total=False):
    """The options of a request. The default of an option is the model's (generation_config.json), else Seer's."""
    max_new_tokens: int  # -1, the default: until the model ends the answer or the context is full
    min_new_tokens: int
    sparse: str  # "dense", "threshold=T", "head_threshold=T", "nz_ratio=R" or "nz_ratio_row=R"
    sparse_decode: str  # "dense", "budget=N", "threshold=T" or "ratio=R"
    stop: Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    n_logprobs: int  # reports log-probabilities of the answer's tokens, and at each place of this many likeliest tokens
    n_prompt_logprobs: int
    temperature: float  # 0 takes the likeliest token
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    repeat_last_n: int
    seed: int
    logit_bias: Mapping[int, float]
    on_token: Callable[[int, str], object]  # (token, text that will not change any more); returning False stops the request
    on_progress: Callable[[int, int, int], object]  # (processed, total, cached) tokens of the prompt; False stops
    on_logits: Callable[[Any, Any], object]  # (tokens so far, logits) as ctypes arrays; it may change the logits


def _known(options: Mapping[str, Any], allowed: Any) -> None:
    for name in options:
        if name not in allowed.__annotations__:
            raise TypeError(f"unknown option {name!r}; options are {', '.join(allowed.__annotations__)}")


_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
             "repeat_last_n", "seed")


class _Prepared:
    """Owns a seer_request and everything that it points to."""

    def __init__(self, library: _Library, engine: Any, prompt: Sequence[int], options: Mapping[str, Any]) -> None:
        _known(options, RequestOptions)
        self.request: Any = library.prepared(_Request)
        self.kept: list[Any] = []
        self._array("prompt", _integers(prompt))
        self._array("stop_token_ids", _integers(options.get("stop_token_ids", ())))
        stop = options.get("stop", ())
        if isinstance(stop, str):
            raise TypeError("stop: expected a sequence of texts, found one text")
        self._array("stop", (ctypes.c_char_p * len(stop))(*map(_text, stop)))
        for name in ("max_new_tokens", "min_new_tokens", "ignore_eos"):
            if name in options:
                _set(self.request, name, options[name])
        for name in ("logprobs", "prompt_logprobs"):
            if f"n_{name}" in options:
                _set(self.request, f"has_{name}", 1)
                _set(self.request, f"n_{name}", options[f"n_{name}"])
        self.request.sparse = _text(options.get("sparse"))
        self.request.sparse_decode = _text(options.get("sparse_decode"))
        self._sampling(library.prepared(_Sampling, engine), options)

    def _array(self, name: str, values: Any) -> None:
        if values is not None:
            self.kept.append(values)
            setattr(self.request, name, ctypes.addressof(values))
            setattr(self.request, f"n_{name}", len(values))

    def _sampling(self, sampling: Any, options: Mapping[str, Any]) -> None:
        for name in _SAMPLING:
            if name in options:
                _set(sampling, name, options[name])
        sampling.has_seed = "seed" in options
        bias = options.get("logit_bias", {})
        if bias:
            ids, values = _integers(list(bias)), (ctypes.c_double * len(bias))(*bias.values())
            sampling.bias_ids, sampling.bias_values = ctypes.addressof(ids), ctypes.addressof(values)
            sampling.n_biases = len(bias)
            self.kept += [ids, values]
        self.kept.append(sampling)
        self.request.sampling = ctypes.addressof(sampling)

    def call_back(self, task: _Task) -> None:
        self.request.user, self.request.on_token = task.key, _address(_on_token)
        self.request.on_progress = _address(_on_progress)
        self.request.on_logits = _address(_on_logits) if task.on_logits else None


class _Running:
    """A request under way. `wait` blocks until its end and raises the engine's error; `stop` may be called at any time."""

    def __init__(self, task: _Task, wait: Callable[[], Result], stop: Callable[[], None]) -> None:
        self.task, self.wait, self._stop = task, wait, stop

    def stop(self) -> None:
        self.task.stopped = True  # if the request has not begun yet, its first callback stops it
        self._stop()


class Stream(Iterator[str]):
    """Yields the text of a running request piece by piece. The request is cancelled by close(), at the end of a `with`, or when the
    stream is no longer referenced."""

    def __init__(self, running: _Running) -> None:
        self._running: _Running | None = running  # None after the end
        self._result: Result | None = None
        self._forgotten = weakref.finalize(self, running.stop)

    def __next__(self) -> str:
        piece = self._running.task.pieces.get() if self._running else None
        if piece is None:
            self._end()
            raise StopIteration
        return piece

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        self._forgotten.detach()
        try:
            self._result = running.wait()
        finally:
            if running.task.error is not None:
                raise running.task.error

    @property
    def result(self) -> Result:
        """Waits until the request ends. Raises what the engine or a callback raised."""
        for _ in self:
            pass
        if self._result is None:
            raise Error("usage", "the request has failed, so it has no result")
        return self._result

    def cancel(self) -> None:
        """Ends the request soon. The pieces generated until then can still be read, and `finish` of the result is "cancelled"."""
        if self._running:
            self._running.stop()

    def close(self) -> None:
        """Cancels the request if it still runs, and waits until it has ended; no callback is called after that."""
        if self._running:
            self._running.stop()
            for _ in iter(self._running.task.pieces.get, None):
                pass
            with contextlib.suppress(Exception):  # `result` reports that there is no result
                self._end()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TemplateOptions(TypedDict, total=False):
    """The options by which messages become a prompt."""
    tools: Sequence[Mapping[str, Any]]
    template: str  # a file with a Jinja template, "llama2", "llama3", "chatml", "mistral" or "none"; default: the model's own
    template_arguments: Mapping[str, Any]  # further variables of the template, such as {"enable_thinking": False}
    continue_final_message: bool  # whether the answer continues the last message, which is the assistant's


class ChatOptions(TemplateOptions, RequestOptions, total=False):
    pass


class _Generation(_Handle):
    """A submitted request."""

    def __init__(self, library: _Library, engine: Engine, prepared: _Prepared) -> None:
        self._library, pointer = library, ctypes.c_void_p()
        library.check(library.engine_submit(engine._handle, ctypes.byref(prepared.request), ctypes.byref(pointer)))
        super().__init__(pointer, lambda: library.generation_free(pointer))

    def stop(self) -> None:
        self._library.generation_cancel(self._pointer)  # does nothing if that is null

    def wait(self) -> Result:
        raw = _Result()
        with self:
            size = ctypes.c_size_t(ctypes.sizeof(raw))
            self._library.check(self._library.generation_wait(self._handle, ctypes.byref(raw), size))
            return _result_of(raw)


class Engine(_Handle):
    """A loaded model. Sizes are in tokens, and 0 or None stands for the engine's default; seer_engine_options in seer/seer.h
    says more. `on_load(bytes_done, bytes_total)` cancels by returning False; the levels of `on_log(level, message)` are "info"
    and "warning"."""

    def __init__(self, model_dir: str | os.PathLike[str] | None, gates_dir: str | os.PathLike[str] | None = None, *,
                 library: str | os.PathLike[str] | None = None, random_config: str | os.PathLike[str] | None = None,
                 device: str | None = None, threads: int = 0, ctx_size: int = 0, chunk_size: int = 0, mixed_chunk_size: int = 0,
                 max_batch_size: int = 0, pool_size: int = 0, gpu_memory_utilization: float = 0.0, prefix_cache: bool = True,
                 kv_cache_dtype: str | None = None, weights: str | None = None, activations: str | None = None,
                 more_gates_dir: str | os.PathLike[str] | None = None,
                 disk_cache_dir: str | os.PathLike[str] | None = None, disk_cache_bytes: int = 0, host_cache_bytes: int = 0,
                 on_load: Callable[[int, int], object] | None = None,
                 on_log: Callable[[str, str], object] | None = None) -> None:
        given = locals()
        self._library = loaded = _find_library(library)
        options: Any = loaded.prepared(_Options)
        for name in ("model_dir", "gates_dir", "more_gates_dir", "random_config", "device", "kv_cache_dtype", "weights",
                     "activations", "disk_cache_dir"):
            setattr(options, name, _text(given[name]))
        for name in ("threads", "ctx_size", "chunk_size", "mixed_chunk_size", "max_batch_size", "pool_size",
                     "gpu_memory_utilization", "disk_cache_bytes", "host_cache_bytes"):
            _set(options, name, given[name])
        options.no_prefix_cache = not prefix_cache
        task = _Callbacks(on_load, on_log)
        weakref.finalize(self, _tasks.pop, task.key, None)
        options.user, options.on_load, options.on_log = task.key, _address(_on_load), _address(_on_log)
        pointer = ctypes.c_void_p()
        status = loaded.engine_load(ctypes.byref(pointer), ctypes.byref(options))
        if task.error is not None:
            raise task.error
        loaded.check(status)
        super().__init__(pointer, lambda: loaded.engine_free(pointer))

    def _described(self, struct: type[ctypes.Structure], function: Any) -> Any:
        raw = struct()
        self._library.check(function(self._handle, ctypes.byref(raw), ctypes.c_size_t(ctypes.sizeof(raw))))
        return raw

    @property
    def info(self) -> EngineInfo:
        raw = self._described(_Info, self._library.engine_get_info)
        values: dict[str, Any] = {}
        for field in dataclasses.fields(EngineInfo):
            value = getattr(raw, field.name)
            values[field.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        values |= {name: bool(values[name]) for name in ("has_gates", "has_decode_gates", "has_tokenizer")}
        values["stop_ids"] = _copied(ctypes.c_int32, raw.stop_ids, raw.n_stop_ids)
        return EngineInfo(**values)

    @property
    def statistics(self) -> EngineStatistics:
        raw = self._described(_Stats, self._library.engine_get_stats)
        values = {name: getattr(raw, name) for name, _ in _Stats._fields_ if name not in ("size", "restore_saved_ns")}
        for name in ("host_cache", "disk_cache"):
            tier = values[name]
            counts = {count: getattr(tier, count) for count, _ in _Tier._fields_ if count != "restore_ns"}
            values[name] = TierStatistics(**counts, restore=tier.restore_ns * 1e-9)
        return EngineStatistics(**values, restore_saved=raw.restore_saved_ns * 1e-9)

    def check(self) -> None:
        """If the GPU or another rank was lost, raises the error with which all requests fail from then on."""
        self._library.check(self._library.engine_check(self._handle))

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Returns token ids. add_special adds BOS and EOS as the model's files say. With parse_special, the texts of special tokens
        in `text` become these tokens."""
        flags = ctypes.c_uint32((_ADD_SPECIAL if add_special else 0) | (_PARSE_SPECIAL if parse_special else 0))
        raw = text.encode()
        return list(self._allocated(ctypes.c_int32, self._library.encode, raw, ctypes.c_size_t(len(raw)), flags))

    def decode(self, tokens: Sequence[int], *, keep_special: bool = False) -> str:
        ids = _integers(tokens)
        return str(self._allocated(str, self._library.decode, ids, ctypes.c_size_t(len(tokens)), ctypes.c_int(keep_special)))

    def encode_chat(self, messages: Sequence[Message], **options: Unpack[TemplateOptions]) -> list[int]:
        """Returns the token ids of the prompt that the chat template makes of the messages; it ends where the answer begins."""
        return list(self._templated(ctypes.c_int32, self._library.encode_chat_prompt, messages, options))

    def render_chat(self, messages: Sequence[Message], **options: Unpack[TemplateOptions]) -> str:
        """Returns the prompt of encode_chat() as text."""
        return str(self._templated(str, self._library.render_chat, messages, options))

    def _templated(self, kind: Any, function: Any, messages: Sequence[Message], options: Mapping[str, Any]) -> Any:
        _known(options, TemplateOptions)
        prompt: Any = self._library.prepared(_ChatPrompt)
        prompt.messages, prompt.tools, prompt.kwargs = _json(list(messages)), _json(options.get("tools")), _json(
            options.get("template_arguments"))
        prompt.chat_template = _text(options.get("template"))
        if options.get("continue_final_message"):
            prompt.continue_final_message = 1
        return self._allocated(kind, function, ctypes.byref(prompt))

    def _allocated(self, kind: Any, function: Any, *arguments: Any) -> Any:
        pointer, count = ctypes.c_void_p(), ctypes.c_size_t()
        self._library.check(function(self._handle, *arguments, ctypes.byref(pointer), ctypes.byref(count)))
        return self._library.taken(kind, pointer, count.value)

    def stream(self, prompt: str | Sequence[int], **options: Unpack[RequestOptions]) -> Stream:
        """Begins a request with a prompt, given as text or token ids. The stream yields the text of the answer. Other requests may
        run at the same time."""
        ids = self.encode(prompt) if isinstance(prompt, str) else prompt
        prepared, task = _Prepared(self._library, self._handle, ids, options), _Task(options)
        prepared.call_back(task)
        prepared.request.on_end = _address(_on_end)
        try:
            generation = _Generation(self._library, self, prepared)
        except BaseException:
            task.end()
            raise
        return Stream(_Running(task, generation.wait, generation.stop))

    def generate(self, prompt: str | Sequence[int], **options: Unpack[RequestOptions]) -> Result:
        with self.stream(prompt, **options) as stream:
            return stream.result

    def stream_chat(self, messages: Sequence[Message], **options: Unpack[ChatOptions]) -> Stream:
        """Does the same as stream(), with the prompt that the chat template makes of the messages."""
        _known(options, ChatOptions)
        template = {name: value for name, value in options.items() if name in TemplateOptions.__annotations__}
        request = {name: value for name, value in options.items() if name not in template}
        return self.stream(self.encode_chat(messages, **template), **request)  # type: ignore[arg-type]

    def chat(self, messages: Sequence[Message], **options: Unpack[ChatOptions]) -> Result:
        """Returns the assistant's answer to a conversation. Earlier turns are reused from the engine's prefix cache."""
        with self.stream_chat(messages, **options) as stream:
            return stream.result

    def session(self) -> Session:
        return Session(self)

    def load_session(self, path: str | os.PathLike[str]) -> Session:
        """Returns a session from a file that Session.save() wrote, in this process or another one. It continues exactly as the
        saved one would. Load only files that you trust as you trust the model's files."""
        return Session(self, path)


class Session(_Handle):
    """A conversation that keeps its KV pages. A prompt is appended to the tokens that the session holds, and only the new ones are
    computed."""

    def __init__(self, engine: Engine, saved: str | os.PathLike[str] | None = None) -> None:
        self._engine, self._library, pointer = engine, engine._library, ctypes.c_void_p()
        if saved is None:
            status = self._library.session_new(ctypes.byref(pointer), engine._handle)
        else:
            status = self._library.session_load(ctypes.byref(pointer), engine._handle, os.fsencode(saved))
        self._library.check(status)
        self._threads: list[threading.Thread] = []  # the thread of the last request
        self._task: _Task | None = None  # the callbacks of the last request
        super().__init__(pointer, functools.partial(_end_session, self._library, pointer, self._threads))

    @property
    def tokens(self) -> list[int]:
        """The token ids that the session holds."""
        self._idle()
        pointer, count = ctypes.c_void_p(), ctypes.c_size_t()
        self._library.check(self._library.session_tokens(self._handle, ctypes.byref(pointer), ctypes.byref(count)))
        return _copied(ctypes.c_int32, pointer.value, count.value)

    def reset(self) -> None:
        """Empties the session."""
        self._idle()
        self._library.check(self._library.session_reset(self._handle))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokens and their KV pages to a file, for Engine.load_session()."""
        self._idle()
        self._library.check(self._library.session_save(self._handle, os.fsencode(path)))

    def cancel(self) -> None:
        """Stops the running request at its next token or chunk. Any thread may call this, and any callback."""
        if self._task is not None:
            self._task.stopped = True  # a request that has not begun yet stops at its first callback
        self._library.session_cancel(self._handle)

    def stream(self, prompt: str | Sequence[int], **options: Unpack[RequestOptions]) -> Stream:
        self._idle()
        ids = self._engine.encode(prompt, add_special=not self.tokens) if isinstance(prompt, str) else prompt
        prepared, task = _Prepared(self._library, self._engine._handle, ids, options), _Task(options)
        prepared.call_back(task)
        outcome: list[Result | BaseException] = []

        def run() -> None:
            raw = _Result()
            try:
                self._library.check(self._library.session_generate(
                    self._handle, ctypes.byref(prepared.request), ctypes.byref(raw), ctypes.c_size_t(ctypes.sizeof(raw))))
                outcome.append(_result_of(raw))
            except BaseException as error:
                outcome.append(error)
            finally:
                task.end()

        thread = threading.Thread(target=run, daemon=True)  # if the session is not closed, its finalizer ends the request
        self._threads[:], self._task = [thread], task
        thread.start()

        def wait() -> Result:
            thread.join()
            if isinstance(outcome[0], BaseException):
                raise outcome[0]
            return outcome[0]

        return Stream(_Running(task, wait, lambda: self._library.session_cancel(self._pointer)))

    def generate(self, prompt: str | Sequence[int], **options: Unpack[RequestOptions]) -> Result:
        with self.stream(prompt, **options) as stream:
            return stream.result

    def _idle(self) -> None:
        for thread in self._threads:
            if self._task is not None and self._task.stopped and thread is not threading.current_thread():
                thread.join()  # its request was cancelled, and will end soon
            if thread.is_alive():
                raise Error("usage", "the session's last request still runs: read its stream to the end, or close it")


def _end_session(library: _Library, pointer: ctypes.c_void_p, threads: list[threading.Thread]) -> None:
    for thread in threads:
        while thread.is_alive():  # repeated, because session_cancel has no effect on a request that has not begun
            library.session_cancel(pointer)
            thread.join(0.01)
    library.session_free(pointer)
