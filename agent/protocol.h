/*
 * The agent's protocol, version 1: what backends/core and the agent say to each other, and the files that a local agent writes.
 *
 * One WebSocket connection (GET /agent/v1, Authorization: Bearer TOKEN) per container; the agent is the HTTP server on a local socket. The daemon
 * may send frames right behind its handshake request, without waiting for the 101. One link at a time: a new one replaces the old. When the link
 * breaks, the process goes on; the agent keeps its socket open, and the next link begins with `hello`, as every link does.
 *
 * ## Text frames: control messages, JSON objects with "type"
 *
 * A request carries "id" (1…2^53) and gets exactly one answer with the same id: the one named, {"type":"ok"}, or
 * {"type":"error","status":HTTP-like,"message":sentence[,"exit_code":126|127]}.
 *
 * daemon → agent
 *   start    id, argv[], env[], cwd, user "", hostname, tty, open_stdin, stdin_once, rows, cols, rlimits["nofile=1024:2048"],
 *            log_max_size (bytes; 0: the log is not rotated), log_max_files,
 *            root {kind, path | lower, upper, work} (SlAgentRoot), runtime ["/path/sockerless-sandbox", …]   → started
 *            Paths are relative to the agent's folder unless absolute. user is "uid[:gid]" or names looked up in the root's /etc/passwd and
 *            /etc/group by the agent. cwd is made when it is missing. An empty argv is an error.
 *   exec     id, channel (not 0, unused), exec_id, argv[], env[], cwd, user, tty, stdin, stdout, stderr, rows, cols, config (any JSON,
 *            given back in hello); env is complete: core has merged the container's                                        → started
 *   signal   id, signal (number), channel; channel 0 is the container's first process                                      → ok
 *   resize   id, channel, rows, cols                                                                                       → ok
 *   top      id                                                                                                            → top
 *   pause    id: every process is stopped; none of them runs when the answer comes. Execs are refused until unpause             → ok
 *   unpause  id: those that ran before run on                                                                               → ok
 *   shutdown the agent kills what is left, and ends. No answer: the link closes.
 *
 * agent → daemon
 *   hello    version, container, state "idle"|"running"|"exited", paused, pid, started_ns, length (of the log), stdin_received,
 *            exit {…as exited…} when exited, execs [{channel, exec_id, pid, is_running, exit_code, tty, config}]
 *            Behind it comes a WINDOW for channel 0 and every exec that runs: what was received and not taken by the process still counts.
 *            While a start is in progress hello waits for its outcome. Finished execs are listed as long as there is room, the latest last.
 *   started  id, pid (on this machine; what `inspect` shows), started_ns
 *   exited   channel, exit_code, signal (0 or the one that killed it), finished_ns; for channel 0 also length: the sealed log's. It is sent after
 *            the output was drained to its end (at most SL_AGENT_DRAIN_MS after the process when a child keeps it open) and stored; for
 *            an exec after its last DATA and its EOF. exited of channel 0 comes after those of all execs, which die with it.
 *   top      id, processes [{pid, ppid, uid, user, started_ms, cpu_ms, tty, command}]; pids as the container sees them
 *
 * ## Binary frames: a 16-byte header, then payload (SlAgentFrame)
 *
 *   DATA     offset = number of this stream's bytes before payload[0]. To the agent: stdin of channel (0: the container). From the agent: output of an exec,
 *            already in the client's form: stdcopy frames, or raw with a tty; payloads may end inside a stdcopy frame.
 *   WINDOW   offset = the receiver takes bytes up to there. Both directions start at SL_AGENT_WINDOW.
 *   END      offset = total. To the agent: stdin is closed (with stdin_once or an exec; core decides, the agent just closes). From the agent: the exec's output is over.
 *   GROWN    agent → daemon, channel 0, offset = length of the log that can be read now. The next is sent only after
 *   SEEN     daemon → agent: the last GROWN was handled, and somebody reads: the daemon has open what is before offset; a segment that begins behind it is
 *            kept, also past log_max_files, up to SL_LOG_HELD_MAX bytes more.
 *   LEFT     daemon → agent, instead of SEEN: nobody reads. Segments may go; no GROWN is sent until a SEEN.
 *
 * Stdin that arrives while nothing runs is an error of the daemon: it is dropped and said in the agent's log. A process that closes its stdin: the agent drops the rest, windows go on.
 * An exec whose daemon went away goes on; its output is dropped.
 *
 * ## Files in the container's folder, which is the agent's working folder
 *
 *   log       what the container printed, all runs in a row: stdcopy frames (without a tty), bare bytes (with). Only appended to; only the agent writes. On
 *             opening it, a torn tail behind the last mark is cut off at a frame's border.
 *   log.idx   SlLogMark for every chunk of log, in order, appended after the chunk
 *   log.B     with log_max_size, what follows when log is full, and so on: a segment whose first byte is byte B (16 hexadecimal digits) of all that was ever
 *   log.B.idx printed. Offsets count through all segments. A segment begins where the one before ends, at a frame's border and, where the output has lines,
 *             at a line's; it is named once and never written after the next exists. The oldest go first, so that log_max_files are left.
 *   log.damaged.B, log.damaged.B.idx   a segment, or an index alone, that opening found damaged by more than a crash leaves; the log goes on in a new segment
 *             behind the offsets it had. The latest one is kept, and nobody reads it.
 *   exit.json the last exit: {"exit_code","signal","started_ns","finished_ns","length"}; replaced whole before `exited` is sent, removed by start.
 *             An agent without a link ends after it has written this: a daemon that finds no agent and this file knows how it ended, and one that
 *             finds neither reports 255. An idle agent that nobody is linked to ends after a minute.
 *   agent.log the agent's own log (standard error)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SL_AGENT_VERSION = 1,
    SL_AGENT_FRAME_HEADER = 16,
    SL_AGENT_WINDOW = 256 * 1024,
    SL_AGENT_MAX_MESSAGE = 1024 * 1024,
    SL_AGENT_MAX_PAYLOAD = 64 * 1024,
    SL_AGENT_DRAIN_MS = 2000,
    SL_AGENT_LISTEN_FD = 3, /* the listening socket that the agent inherits */
    SL_LOG_NAME_MAX = 32,
    SL_LOG_CHUNK_MAX = 1024 * 1024,      /* bytes of output in one chunk, its header not counted */
    SL_LOG_HELD_MAX = 256 * 1024 * 1024, /* kept for readers of a rotated log, beyond its limits */
};

#define SL_AGENT_TOKEN_VARIABLE "SOCKERLESS_AGENT_TOKEN" /* read and cleared at start */
#define SL_AGENT_PATH           "/agent/v1"
#define SL_AGENT_SOCKET_NAME    "agent.sock"
#define SL_AGENT_LOG_NAME       "log"
#define SL_AGENT_INDEX_NAME     "log.idx"
#define SL_AGENT_EXIT_NAME      "exit.json"

typedef enum SlAgentFrameType {
    SL_AGENT_DATA = 1,
    SL_AGENT_WINDOW_TO = 2,
    SL_AGENT_END = 3,
    SL_AGENT_GROWN = 4,
    SL_AGENT_SEEN = 5,
    SL_AGENT_LEFT = 6,
} SlAgentFrameType;

/* On the wire: type u8, stream u8 (0), flags u16 (0), channel u32, offset u64; big-endian. */
typedef struct SlAgentFrame {
    SlAgentFrameType type;
    uint32_t channel;
    uint64_t offset;
} SlAgentFrame;

void sl_agent_frame_put(const SlAgentFrame *frame, uint8_t header[SL_AGENT_FRAME_HEADER]);
/* False when n < SL_AGENT_FRAME_HEADER or the type is unknown. */
bool sl_agent_frame_get(const uint8_t *data, size_t n, SlAgentFrame *ret_frame);

/* start's root.kind: "overlay" (mounted by the agent as root, detached), "overlay-userns" (in a user namespace of the agent's), "folder" (used as it is). */

/* In log.idx, little-endian. */
typedef struct SlLogMark {
    uint64_t offset;  /* of the chunk, its stdcopy header included */
    uint64_t time_ns; /* when it was read; since 1970 */
} SlLogMark;

/* The name of the segment that begins at base, or of its index. */
void sl_log_name(uint64_t base, bool is_index, char name[SL_LOG_NAME_MAX]);
/* False when name is not a segment's (an index is none). */
bool sl_log_name_parse(const char *name, uint64_t *ret_base);
