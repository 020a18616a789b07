/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvbench.h - the whole public API of libkvbench.
 *
 * The text between the two cdef markers is read twice: by the C compiler, and verbatim by LuaJIT's ffi.cdef (it is
 * embedded in the binary). So there are no macros, no `long`, no bit-fields, no struct passed by value and no function
 * pointers in it: C never calls Lua, Lua pulls.
 *
 * Conventions
 *   status     every call that can fail returns a kvb_status; 0 is success. The reason is in the calling thread's
 *              diagnostic (kvb_diag_*), valid until the next failing call of that thread.
 *   ownership  "owns" (free it with the matching _free), "borrows" (must outlive the call or the object named),
 *              "copies", "valid until". Every _free takes NULL. Children keep their parents alive.
 *   positions  token positions and byte spans are 0-based and half-open. Tensor dimensions are counted from 0 in C.
 *   shapes     written outermost first; a tensor's last dimension varies fastest unless its strides say otherwise.
 */
#ifndef KVBENCH_H
#define KVBENCH_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/*[cdef]*/

/* ---- status and diagnostics -------------------------------------------------------------------------------------- */

typedef enum kvb_status {
    KVB_OK = 0,
    KVB_E_ARG = 1,         /* an argument is outside its documented range */
    KVB_E_SHAPE = 2,       /* shapes do not fit each other */
    KVB_E_IO = 3,          /* the operating system refused: open, read, write, map */
    KVB_E_FORMAT = 4,      /* a file is not what it claims to be */
    KVB_E_MEMORY = 5,      /* allocation failed or a byte budget is exhausted */
    KVB_E_UNSUPPORTED = 6, /* valid, but this build, device or file kind cannot do it */
    KVB_E_MISSING = 7,     /* something needed was not loaded, observed or found */
    KVB_E_CANCELLED = 8,   /* kvb_cancel() or Ctrl-C */
    KVB_E_INTERNAL = 9     /* a broken invariant of ours */
} kvb_status;

enum { KVB_ABI_VERSION = 1 };

int32_t kvb_abi_version(void);
/* Bytes of a public struct by its name ("kvb_tensor"), or -1: lets Lua check its own view of the layout. */
int64_t kvb_sizeof(const char *name);
/* "0.1.0" and the git revision the binary was built from ("unknown" outside a checkout). Static strings. */
const char *kvb_version(void);
const char *kvb_git_revision(void);

/* The calling thread's last failure. Strings are valid until the next failing call; empty when there is none. */
kvb_status kvb_diag_code(void);
const char *kvb_diag_message(void);
const char *kvb_diag_hint(void); /* what to do next, "" if nothing can be said */
void kvb_diag_clear(void);

/* ---- memory, threads, cancelling, clock -------------------------------------------------------------------------- */

/* What bytes are counted under. */
enum {
    KVB_MEM_ALL = 0, KVB_MEM_WEIGHTS = 1, KVB_MEM_CACHE = 2, KVB_MEM_TENSOR = 3, KVB_MEM_SCRATCH = 4, KVB_MEM_OTHER = 5,
    KVB_MEM_TAGS = 6
};
int64_t kvb_memory_bytes(int32_t tag);       /* live bytes under a tag */
int64_t kvb_memory_peak(int32_t tag);        /* the largest it has been */
int64_t kvb_memory_allocations(void);        /* allocations so far, for the fail-Nth loop */
/* The n-th allocation from now (1 = the next) fails once with KVB_E_MEMORY; -n: that one and all after it; 0 switches
 * it off. For tests. Device memory counts too. */
void kvb_memory_fail_nth(int64_t n);
/* An allocation that would take the bytes in use beyond this fails (0: no limit), as on a smaller machine or GPU: what
 * is done about memory that runs out can be tried anywhere. */
void kvb_memory_limit(int64_t bytes);

/* Threads used by every operation; n = 0 asks for as many as the process's affinity mask allows. More than that is an
 * error (KVB_E_ARG), and so is a number that the system does not start (KVB_E_IO; those it does start are used from
 * then on). */
kvb_status kvb_threads_set(int32_t n);
int32_t kvb_threads(void);

/* "amx-bf16", "avx512", "avx2" or "scalar": which hand-written kernels this CPU runs. Static string. */
const char *kvb_cpu_tier(void);
const char *kvb_cpu_name(void);

/* Long calls poll one flag and return KVB_E_CANCELLED when it is set. */
void kvb_cancel(void);
void kvb_cancel_reset(void);
int32_t kvb_cancelled(void);

double kvb_time(void); /* seconds on a monotonic clock */
int32_t kvb_terminal_width(int32_t fd); /* columns, or 0 when fd is not a terminal */
int64_t kvb_process_peak_bytes(void); /* peak resident set of the process */

/* Child processes. argv and extra (NAME=VALUE, in addition to this process's environment) end with NULL; standard
 * output and errors go to the file `log`, which is begun anew. */
kvb_status kvb_process_start(const char *const *argv, const char *const *extra, const char *log, int64_t *pid);
/* -1 while it runs; then, once, its exit status, or 128 + the signal that ended it. */
int32_t kvb_process_state(int64_t pid);
void kvb_process_stop(int64_t pid); /* SIGTERM */
int64_t kvb_process_id(void);
void kvb_sleep(double seconds); /* a signal ends it early */

/*
 * A child process that may compute and nothing else, for code that nobody trusts (docs/security.md). start: argv and
 * environment (NAME=VALUE, nothing else is passed on) end with NULL, argv[0] is a path; standard input is a socket.
 * Owns: close kills it. send and receive: all bytes or an error, in at most `seconds` (KVB_E_IO: too slow, or it ended;
 * KVB_E_CANCELLED).
 */
typedef struct kvb_sandbox kvb_sandbox;
kvb_status kvb_sandbox_start(const char *const *argv, const char *const *environment, kvb_sandbox **out);
void kvb_sandbox_close(kvb_sandbox *s);
kvb_status kvb_sandbox_send(kvb_sandbox *s, const void *data, int64_t bytes, double seconds);
kvb_status kvb_sandbox_receive(kvb_sandbox *s, void *data, int64_t bytes, double seconds);
/* For the child. lock: from here on no files, sockets, processes, threads or executable memory, at most `bytes` of
 * address space and `cpu_seconds`; cannot be undone; call it before the first foreign byte is read. read, write: all
 * bytes, from and to the parent; KVB_E_IO when it is gone. */
kvb_status kvb_sandbox_lock(int64_t bytes, int32_t cpu_seconds);
kvb_status kvb_sandbox_read(void *to, int64_t bytes);
kvb_status kvb_sandbox_write(const void *from, int64_t bytes);

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* Writes to a temporary name in the same folder, flushes, renames: readers see the old file or the new one, whole. */
kvb_status kvb_file_write(const char *path, const void *data, int64_t bytes);
kvb_status kvb_dir_make(const char *path); /* with parents; an existing folder is fine */
/* Names in a folder, sorted bytewise, separated by '\n', folders with a trailing '/'; names with a '\n' of their own
 * are left out. Valid until the next call. */
kvb_status kvb_dir_list(const char *path, const char **names);
int32_t kvb_path_kind(const char *path); /* 0 nothing there, 1 file, 2 folder */
int32_t kvb_path_link(const char *path); /* 1: a symbolic link, whatever it points to */
int32_t kvb_path_same(const char *a, const char *b); /* 1: two names of one file or folder that is there */
/*
 * A text file line by line, plain or zstd-compressed (told by its first bytes), in memory bounded by the longest line.
 * open: max_line in [1, 2^30] bytes; owns: kvb_lines_close. Errors: KVB_E_MISSING (no such file), KVB_E_IO.
 * next: *line (without its '\n'; NUL-terminated, may hold NULs; valid until the next call) and its true length in
 * *bytes; *line = NULL at the end. Of a line longer than max_line only its first max_line bytes are there, and the next
 * call goes on after it. KVB_E_FORMAT: compressed data that is damaged or cut. number: lines handed out so far.
 */
typedef struct kvb_lines kvb_lines;
kvb_status kvb_lines_open(const char *path, int64_t max_line, kvb_lines **out);
kvb_status kvb_lines_next(kvb_lines *l, const char **line, int64_t *bytes);
int64_t kvb_lines_number(const kvb_lines *l);
void kvb_lines_close(kvb_lines *l);
/*
 * A file written piece by piece; compressed with zstd when the path ends in ".zst". It appears under its name only when
 * kvb_sink_close succeeds; close and discard both end it, whatever they return. Owns. Errors: KVB_E_IO, KVB_E_MEMORY.
 */
typedef struct kvb_sink kvb_sink;
kvb_status kvb_sink_open(const char *path, kvb_sink **out);
kvb_status kvb_sink_write(kvb_sink *s, const void *data, int64_t bytes); /* copies */
kvb_status kvb_sink_close(kvb_sink *s);
void kvb_sink_discard(kvb_sink *s); /* nothing appears */
/* 64-bit hash of bytes (not cryptographic), for provenance. */
uint64_t kvb_hash64(const void *data, int64_t bytes, uint64_t seed);

/* ---- results store ----------------------------------------------------------------------------------------------- */

/*
 * A SQLite file (docs/store.md has the schema). One thread at a time. Failures name the file: KVB_E_IO (disk full,
 * read-only, held by another program for a minute), KVB_E_FORMAT (damaged, or no database), KVB_E_MISSING (mode READ
 * and no file). open: WRITE makes the file if need be; a process killed at any moment leaves its last whole
 * transaction. READ works beside a writer, and in a folder nobody may write to. Owns: kvb_store_close.
 */
typedef struct kvb_store kvb_store;
typedef struct kvb_query kvb_query;
enum { KVB_STORE_READ = 0, KVB_STORE_WRITE = 1 };
enum { KVB_VALUE_NULL = 0, KVB_VALUE_NUMBER = 1, KVB_VALUE_TEXT = 2, KVB_VALUE_BLOB = 3 };
kvb_status kvb_store_open(const char *path, int32_t mode, kvb_store **out);
void kvb_store_close(kvb_store *s); /* after its queries */
kvb_status kvb_store_run(kvb_store *s, const char *sql); /* statements without results, separated by ';' */
/* One prepared statement; borrows the store. Parameters count from 1, columns from 0. step: *row = 1 when there is a
 * row to read, 0 at the end (and the statement is ready to run again). Bound values are copied; column bytes are valid
 * until the next step, reset or bind. Numbers are doubles. Binding rewinds. */
kvb_status kvb_query_new(kvb_store *s, const char *sql, int64_t bytes, kvb_query **out);
void kvb_query_free(kvb_query *q);
kvb_status kvb_query_bind_null(kvb_query *q, int32_t i);
kvb_status kvb_query_bind_number(kvb_query *q, int32_t i, double value);
kvb_status kvb_query_bind_text(kvb_query *q, int32_t i, const char *text, int64_t bytes);
kvb_status kvb_query_bind_blob(kvb_query *q, int32_t i, const void *data, int64_t bytes);
kvb_status kvb_query_step(kvb_query *q, int32_t *row);
void kvb_query_reset(kvb_query *q);
int32_t kvb_query_columns(const kvb_query *q);
const char *kvb_query_name(const kvb_query *q, int32_t i);
int32_t kvb_query_kind(const kvb_query *q, int32_t i); /* KVB_VALUE_... */
double kvb_query_number(const kvb_query *q, int32_t i);
const void *kvb_query_bytes(const kvb_query *q, int32_t i, int64_t *bytes); /* text is UTF-8 */
/*
 * A lock file: one process holds it, and the kernel gives it back however that process ends. *out = NULL when another
 * one has it; *holder is then that process's id (-1: not known), else 0. Owns: kvb_lock_release, which removes the
 * file.
 */
typedef struct kvb_lock kvb_lock;
kvb_status kvb_lock_take(const char *path, kvb_lock **out, int64_t *holder);
void kvb_lock_release(kvb_lock *lock);

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

/* 1 when libcurl was found on this machine (opened when first asked for; KVB_LIBCURL names another file), else 0. */
int32_t kvb_http_available(void);
/*
 * POSTs JSON and waits for the answer, at most `seconds` (0 < seconds <= 86400; connecting at most 10 of them). The
 * key, if key_variable is not NULL and that environment variable is set, goes into an Authorization header and nowhere
 * else (where the answer repeats it, it is starred out). Redirects are not followed. *status: HTTP's own; *retry_after:
 * seconds the server asks to wait, or 0. *text [*text_bytes], NUL-terminated: the answer, valid until this thread's
 * next call. Any HTTP status is KVB_OK. Errors: KVB_E_IO (unreachable, too slow), KVB_E_FORMAT (longer than `most`
 * bytes), KVB_E_CANCELLED (polled while waiting), KVB_E_UNSUPPORTED (no libcurl).
 */
kvb_status kvb_http_post(const char *url, const char *key_variable, const void *body, int64_t bytes, double seconds,
                         int64_t most, int32_t *status, double *retry_after, const char **text, int64_t *text_bytes);

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

typedef struct kvb_json kvb_json;
enum {
    KVB_JSON_NULL = 0,
    KVB_JSON_FALSE = 1,
    KVB_JSON_TRUE = 2,
    KVB_JSON_NUMBER = 3,
    KVB_JSON_STRING = 4,
    KVB_JSON_ARRAY = 5,
    KVB_JSON_OBJECT = 6
};
/* Parses UTF-8 text; `where` names it in errors. Owns: free the root only. NUL bytes in strings are allowed; duplicate
 * keys are KVB_E_FORMAT. Every number is a double, integers beyond 2^53 included. */
kvb_status kvb_json_parse(const char *text, int64_t bytes, const char *where, kvb_json **out);
void kvb_json_free(kvb_json *root);
int32_t kvb_json_kind(const kvb_json *value);
double kvb_json_number(const kvb_json *value);
/* NULL unless a string; NUL-terminated; valid as long as the root. `bytes` may be NULL. */
const char *kvb_json_string(const kvb_json *value, int64_t *bytes);
int32_t kvb_json_count(const kvb_json *value);                      /* elements of an array or object */
const kvb_json *kvb_json_at(const kvb_json *array, int32_t index); /* counted from 0; NULL outside */
const kvb_json *kvb_json_get(const kvb_json *object, const char *key); /* NULL when there is no such key */
/* Walks an object in file order: start with NULL; returns NULL at the end. */
void *kvb_json_next(const kvb_json *object, void *position, const char **key, int64_t *key_bytes,
                    const kvb_json **value);

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

typedef enum kvb_dtype {
    KVB_F32 = 0,
    KVB_F16 = 1,
    KVB_BF16 = 2,
    KVB_I32 = 3,
    KVB_U8 = 4,
    KVB_U32 = 5,
    KVB_I64 = 6
} kvb_dtype;
enum { KVB_MAX_DIMS = 5 };
typedef struct kvb_storage kvb_storage; /* counted bytes, shared by views */

/* A view: where the elements are and how to step through them. Strides count elements. */
typedef struct kvb_tensor {
    void *data;
    kvb_storage *storage; /* NULL: borrowed memory, which must outlive the view */
    int64_t shape[5];
    int64_t stride[5];
    int32_t ndim;
    int32_t dtype;
    int32_t device_id; /* whose memory: 0 = the host's, else KVB_DEVICE_CUDA + ordinal */
    int32_t constant;  /* 1: one value in host memory, repeated; an input of binary, where and copy on any device */
} kvb_tensor;

/* Fresh zeroed host storage for a contiguous tensor. `out` owns one reference: kvb_tensor_release. */
kvb_status kvb_tensor_new(int32_t dtype, int32_t ndim, const int64_t *shape, kvb_tensor *out);
/*
 * A chain of element-wise ops in one pass: nothing between inputs and result is stored. Bit for bit what the ops give
 * one after another on the same device.
 *
 *   steps     count of them, at most KVB_FUSE_STEPS. a, b, c name operands: 0 .. n - 1 an input, KVB_FUSE_STEP + i
 *             the result of step i, which comes before, -1 - k constants[k]. `into`: which of KVB_FUSE_REGISTERS
 *             places holds the result until its last use (the last step's goes to out)
 *   inputs    n f32 tensors of out's shape (broadcast: stride 0), n <= KVB_FUSE_INPUTS
 *   out       contiguous f32; may be an input
 *   cache     folder for compiled kernels of a GPU, made when needed; NULL: they are kept in memory only
 *
 * On the CPU tile by tile through registers that stay in the first cache; on a GPU a kernel compiled by NVRTC (a
 * library of the toolkit, loaded when first needed; KVB_E_MISSING without it). KVB_E_UNSUPPORTED on the reference.
 */
enum {
    KVB_FUSE_INPUTS = 8,
    KVB_FUSE_STEPS = 48,
    KVB_FUSE_REGISTERS = 8,
    KVB_FUSE_CONSTANTS = 32,
    KVB_FUSE_STEP = 1000
};
enum { KVB_FUSE_UNARY = 0, KVB_FUSE_BINARY = 1, KVB_FUSE_WHERE = 2 }; /* clamp takes its bounds from b and c */
typedef struct kvb_fuse_step {
    int32_t op, kind, a, b, c, into;
} kvb_fuse_step;
kvb_status kvb_fuse(int32_t device, const kvb_fuse_step *steps, int32_t count, const kvb_tensor *const *inputs,
                    int32_t n, const float *constants, int32_t given, kvb_tensor *out, const char *cache);
/* The CUDA source of the kernel that kvb_fuse compiles; valid until the thread's next call. */
const char *kvb_fuse_source(const kvb_fuse_step *steps, int32_t count, int32_t n);

/* kvb_tensor_new in the memory of `device` (KVB_DEVICE_*), counted alike; cleared = 0 leaves it uninitialised, for an
 * output. */
kvb_status kvb_tensor_new_on(int32_t device, int32_t dtype, int32_t ndim, const int64_t *shape, int32_t cleared,
                             kvb_tensor *out);
void kvb_tensor_retain(const kvb_tensor *t);
void kvb_tensor_release(kvb_tensor *t); /* drops the reference and empties the view */
int64_t kvb_dtype_bytes(int32_t dtype);

/* ---- operations ---------------------------------------------------------------------------------------------------
 * Every line of core/ops.def declares kvb_op_<name>(int32_t device, ...): the op on one backend. A backend that lacks
 * an op runs the reference and counts it; in strict mode that is an error. The declarations are generated from ops.def.
 * All tensors of a call are in the device's memory (KVB_E_ARG otherwise), but for constants, and for copy on a GPU,
 * which moves between any two memories. A borrowed view with device_id 0 is taken to be where the op runs. */
enum { KVB_DEVICE_CPU = 0, KVB_DEVICE_REF = 1, KVB_DEVICE_CUDA = 16 /* + ordinal of the GPU */ };
/* GPUs that can be used; 0 without a driver, without a GPU, or when this build has no CUDA part. */
int32_t kvb_cuda_devices(void);
/* Why kvb_cuda_devices() says 0, or which GPU `ordinal` is: its name into name [bytes], its memory and what is free of
 * it. Errors: KVB_E_UNSUPPORTED (no CUDA in this build, no driver, too old a driver or GPU), KVB_E_ARG (no such GPU).
 */
kvb_status kvb_cuda_device_info(int32_t ordinal, char *name, int32_t bytes, int64_t *total_bytes, int64_t *free_bytes);
int64_t kvb_fallbacks(void);       /* ops that ran on the reference because the backend has none */
void kvb_strict_set(int32_t on);

/* ---- weight files ------------------------------------------------------------------------------------------------ */

typedef struct kvb_weights kvb_weights;

typedef struct kvb_weight_info {
    const char *name; /* valid as long as the file is open */
    const char *type; /* "F32", "BF16", "Q4_1", ... */
    int64_t shape[4]; /* outermost first, as PyTorch prints it (GGUF's reversed order is undone) */
    int64_t bytes;    /* in the file */
    int32_t ndim;
    int32_t reserved;
} kvb_weight_info;

/*
 * Opens a .gguf file, a .safetensors file, or a .safetensors.index.json with its shards; memory-maps it and checks
 * every size and offset against the file before it is used. Owns: kvb_weights_free. Errors: KVB_E_MISSING (no such
 * file), KVB_E_IO, KVB_E_FORMAT.
 */
kvb_status kvb_weights_open(const char *path, kvb_weights **out);
void kvb_weights_free(kvb_weights *w);
int32_t kvb_weights_count(const kvb_weights *w);
int32_t kvb_weights_find(const kvb_weights *w, const char *name); /* index, or -1 */
kvb_status kvb_weights_info(const kvb_weights *w, int32_t index, kvb_weight_info *out);
/* Dequantises one tensor to float32; `count` must equal its number of elements. Types this build cannot read fail
 * clearly. */
kvb_status kvb_weights_read(const kvb_weights *w, int32_t index, float *out, int64_t count);
/* Integer and boolean tensors (I8 to I64, U8 to U32, BOOL), widened to int64. */
kvb_status kvb_weights_read_int(const kvb_weights *w, int32_t index, int64_t *out, int64_t count);
/* Hash of every byte of the file(s), for provenance; names and paths do not enter. Computed at the first call (tens of
 * milliseconds per 100 MB in the file cache), then kept. Never 0. */
uint64_t kvb_weights_hash(const kvb_weights *w);
const char *kvb_weights_kind(const kvb_weights *w); /* "gguf" or "safetensors". Static string. */
int64_t kvb_weights_bytes(const kvb_weights *w);    /* of all files together */
/* Metadata: GGUF key-values, or safetensors' __metadata__ (strings). Array elements by index; scalars at index 0.
 * kvb_weights_meta_count: elements (1 for a scalar), 0 when the key is absent or an empty array.
 * kvb_weights_meta_is_string: 1 for a string or an array of them. kvb_weights_meta_number: NaN for a string, an absent
 * key or an index outside; booleans are 0 or 1. kvb_weights_meta_string: NULL in those cases; NOT NUL-terminated (it
 * points into the file): `bytes` says how long it is; valid while the file is open. */
int32_t kvb_weights_meta_keys(const kvb_weights *w);
const char *kvb_weights_meta_key(const kvb_weights *w, int32_t index);
int64_t kvb_weights_meta_count(const kvb_weights *w, const char *key);
int32_t kvb_weights_meta_is_string(const kvb_weights *w, const char *key);
double kvb_weights_meta_number(const kvb_weights *w, const char *key, int64_t index);
const char *kvb_weights_meta_string(const kvb_weights *w, const char *key, int64_t index, int64_t *bytes);

/* ---- tokenizer --------------------------------------------------------------------------------------------------- */

typedef struct kvb_tokenizer kvb_tokenizer;
/*
 * From the bytes of a tokenizer.json, plain or zstd-compressed (`where` names it in errors), or from an open GGUF file
 * (copied): byte-level BPE, and from GGUF also SentencePiece BPE. Owns. Errors: KVB_E_FORMAT (damaged: holes, doubled
 * ids, merges of unknown tokens), KVB_E_UNSUPPORTED (another model type, normaliser or pre-tokenizer). One thread at a
 * time per object.
 */
kvb_status kvb_tokenizer_from_json(const char *text, int64_t bytes, const char *where, kvb_tokenizer **out);
kvb_status kvb_tokenizer_from_gguf(const kvb_weights *gguf, const char *where, kvb_tokenizer **out);
void kvb_tokenizer_free(kvb_tokenizer *t);
int32_t kvb_tokenizer_size(const kvb_tokenizer *t); /* ids are below this; there are no holes */
/*
 * Text (any bytes, NUL included; bytes that are not UTF-8 become tokens of their own) to ids. No BOS or EOS is added.
 * With parse_special, special tokens written out in the text become their ids; without, they are plain text. Added
 * tokens that are not special are found in both cases, as in the reference. The result stays inside the tokenizer and
 * is valid until its next encode: *ids [n], and *spans [n][2] = byte range of the ORIGINAL text that each token covers.
 * Spans are exact and gapless, but for a character that normalisation changed (its tokens each cover the characters it
 * was made from), and for what no token covers: bytes the vocabulary lacks, text that a "Removed" Split drops.
 */
kvb_status kvb_tokenizer_encode(kvb_tokenizer *t, const char *text, int64_t bytes, int32_t parse_special,
                                const int32_t **ids, const int32_t **spans, int32_t *n);
/* Ids to bytes (not necessarily valid UTF-8: a token can be part of a character). Valid until the next decode. */
kvb_status kvb_tokenizer_decode(kvb_tokenizer *t, const int32_t *ids, int32_t n, int32_t skip_special,
                                const char **text, int64_t *bytes);
/* The id of the token that decodes to exactly these bytes, or -1. */
int32_t kvb_tokenizer_id(const kvb_tokenizer *t, const char *token, int64_t bytes);
int32_t kvb_tokenizer_is_special(const kvb_tokenizer *t, int32_t id);
/* The id that the file's own rules put before every text (BOS), or -1. */
int32_t kvb_tokenizer_bos(const kvb_tokenizer *t);
const char *kvb_tokenizer_kind(const kvb_tokenizer *t); /* "byte-level BPE, llama-bpe split", for `model info` */

/* ---- models ------------------------------------------------------------------------------------------------------ */

typedef struct kvb_model kvb_model;

typedef enum kvb_rope_kind { KVB_ROPE_DEFAULT = 0, KVB_ROPE_LLAMA3 = 1, KVB_ROPE_LINEAR = 2 } kvb_rope_kind;

typedef enum kvb_activation { KVB_SILU = 0, KVB_GELU = 1 /* tanh approximation */ } kvb_activation;
enum { KVB_MOST_WINDOWED = 512 };

/* One generic decoder (RMSNorm, rotary attention with grouped KV heads, a gated feed-forward); a family is a setting of
 * these. */
typedef struct kvb_model_desc {
    int32_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, max_positions;
    int32_t qkv_bias;       /* 1: q, k, v have biases (Qwen2) */
    int32_t qk_norm;        /* 1: RMSNorm over head_dim on q and k before RoPE (Qwen3) */
    int32_t tied_embeddings; /* 1: the LM head is the embedding table */
    int32_t rope_kind;      /* kvb_rope_kind */
    int32_t rope_original_positions;
    int32_t dtype;          /* KVB_F32 or KVB_BF16: weights, GEMM inputs and KV; accumulation is f32 */
    int32_t device;         /* KVB_DEVICE_* */
    double norm_eps;
    double rope_theta;
    double rope_factor, rope_low_freq, rope_high_freq; /* llama3 scaling; linear uses rope_factor alone */
    int32_t activation;     /* kvb_activation of the gate */
    int32_t post_norms;     /* 1: RMSNorm on what attention and feed-forward add to the residual (Gemma 3) */
    int32_t sliding_window; /* > 0: in sliding layers a token sees itself and the window - 1 positions before it */
    int32_t reserved;
    uint8_t sliding[512];   /* [KVB_MOST_WINDOWED] 1: that layer is a sliding one */
    double sliding_theta;   /* RoPE theta of sliding layers, without scaling */
    double query_scale;     /* factor of q k; 0 = 1 / sqrt(head_dim) */
    double embedding_scale; /* factor of the embeddings as the decoder reads them; 0 = 1 */
} kvb_model_desc;

typedef enum kvb_weight_slot {
    KVB_W_EMBED = 0, KVB_W_FINAL_NORM = 1, KVB_W_LM_HEAD = 2,
    KVB_W_ATTN_NORM = 3, KVB_W_Q = 4, KVB_W_K = 5, KVB_W_V = 6, KVB_W_O = 7,
    KVB_W_Q_BIAS = 8, KVB_W_K_BIAS = 9, KVB_W_V_BIAS = 10, KVB_W_Q_NORM = 11, KVB_W_K_NORM = 12,
    KVB_W_FFN_NORM = 13, KVB_W_GATE = 14, KVB_W_UP = 15, KVB_W_DOWN = 16, KVB_W_POST_ATTN_NORM = 17,
    KVB_W_POST_FFN_NORM = 18, KVB_W_SLOTS = 19
} kvb_weight_slot;

/* An empty model. Every field of the description is checked. Owns. */
kvb_status kvb_model_new(const kvb_model_desc *desc, kvb_model **out);
void kvb_model_free(kvb_model *m);
enum { KVB_LOAD_INTERLEAVED = 1, KVB_LOAD_PLUS_ONE = 2 };
/*
 * Reads tensor `index` of `w` into a slot (layer 0 for the three global ones): shapes are checked, values dequantised
 * and packed for the backend. changes, or-ed: INTERLEAVED undoes the row permutation that llama-family GGUF files apply
 * to q and k; PLUS_ONE adds 1 to the weights of norms, which Gemma's folders store as differences from 1.
 */
kvb_status kvb_model_load(kvb_model *m, int32_t slot, int32_t layer, const kvb_weights *w, int32_t index,
                          int32_t changes);
/* Fills an empty model with noise of standard deviation 0.02 (norms: 1) from a seed: the same numbers on every device.
 * For benchmarks and tests without a file. KVB_E_ARG when weights were loaded before. */
kvb_status kvb_model_random(kvb_model *m, uint64_t seed);
/* Checks that nothing is missing, builds RoPE tables and proves that rows are independent of batch size. Then it can
 * run. */
kvb_status kvb_model_ready(kvb_model *m);
int64_t kvb_model_bytes(const kvb_model *m);      /* weights in memory */
int64_t kvb_model_parameters(const kvb_model *m);
const char *kvb_model_tier(const kvb_model *m);   /* "cpu amx-bf16", "ref", ... valid as long as m */
/* Declares the `interactive` tier, before kvb_model_ready: a step of one row may use kernels that are faster and round
 * differently, so that its answer may depend on its company. Without effect on the host. kvb_model_tier names it. */
void kvb_model_interactive(kvb_model *m);
/* One line per product and row bucket: the algorithm pinned for it ("" on backends that have one only). Valid until the
 * next model is made ready on the device. */
const char *kvb_model_pins(const kvb_model *m);
enum { KVB_MAX_BUCKETS = 8 };
/* Row buckets in use: sizes ascending in out[KVB_MAX_BUCKETS]; returns how many. One = invariance could not be proven
 * for more. */
int32_t kvb_model_buckets(const kvb_model *m, int32_t *out);
/* cos and sin of RoPE for n positions from `first`: two [n, head_dim] f32 tables, halves repeated as in rotate-half;
 * sliding = 1: those of sliding layers. */
kvb_status kvb_model_rope(const kvb_model *m, int32_t sliding, int32_t first, int32_t n, kvb_tensor *cos_out,
                          kvb_tensor *sin_out);

/* ---- contexts: the cache of one passage -------------------------------------------------------------------------- */

typedef struct kvb_ctx kvb_ctx;
typedef struct kvb_keep kvb_keep;

/* What prefill keeps beside the cache; or-ed. Nothing asked, nothing stored. */
enum { KVB_OBSERVE_QUERIES = 1, KVB_OBSERVE_HIDDEN = 2, KVB_OBSERVE_LOGITS = 4, KVB_OBSERVE_LAST_LOGITS = 8 };

/*
 * Prefills `count` passages in packed steps. ids: all passages' tokens behind each other; lengths [count].
 * window: with KVB_OBSERVE_QUERIES, keep the queries of the last `window` tokens only (0 = all).
 * out [count]: owned contexts, each keeping the model alive. On error none is returned.
 */
kvb_status kvb_prefill(kvb_model *m, const int32_t *ids, const int32_t *lengths, int32_t count, int32_t observe,
                       int32_t window, kvb_ctx **out);
/*
 * kvb_prefill of passages that all begin with the first `shared` tokens of `base`: those are copied instead of
 * computed, with the same bits. base: a context of m, not evicted, that observed of these tokens what is asked for here
 * (else KVB_E_MISSING). Every passage has at least one token more. The results do not need `base` any more.
 */
kvb_status kvb_prefill_from(kvb_model *m, const kvb_ctx *base, int32_t shared, const int32_t *ids,
                            const int32_t *lengths, int32_t count, int32_t observe, int32_t window, kvb_ctx **out);
void kvb_ctx_free(kvb_ctx *c);
void kvb_ctx_retain(kvb_ctx *c);
int32_t kvb_ctx_tokens(const kvb_ctx *c);    /* length of the original passage: where a question's positions start */
int32_t kvb_ctx_is_ragged(const kvb_ctx *c); /* 1 after kvb_ctx_evict */
int64_t kvb_ctx_bytes(const kvb_ctx *c);     /* cache bytes held (keys and values) */
int32_t kvb_ctx_observed(const kvb_ctx *c);  /* observe flags that are still held */
void kvb_ctx_forget(kvb_ctx *c);             /* drops observations, keeps the cache */

enum { KVB_KEYS = 0, KVB_VALUES = 1, KVB_QUERIES = 2, KVB_HIDDEN = 3, KVB_LOGITS = 4 };
/*
 * Copies to f32. KEYS (after RoPE) and VALUES: [layers_given, kv_heads, tokens, head_dim]; QUERIES (before RoPE):
 * [layers_given, heads, window, head_dim]; HIDDEN: [layers + 1, tokens, hidden] (embedding, each block, the last after
 * the final norm; layer arguments count these); LOGITS: [tokens or 1, vocab] (layer arguments ignored). `out` is a
 * contiguous f32 tensor of that shape. KVB_E_MISSING when it was not observed; ragged contexts: kvb_ctx_head.
 */
kvb_status kvb_ctx_read(const kvb_ctx *c, int32_t what, int32_t first_layer, int32_t layers_given, kvb_tensor *out);
/* The queries themselves, [layers, heads, window, head_dim] on the model's device, not a copy. `out` shares their
 * storage, which lives until both are released. KVB_E_MISSING as above. */
kvb_status kvb_ctx_queries(const kvb_ctx *c, kvb_tensor *out);
/* One head of any context: its number of keys; keys and values (either may be NULL) [n, head_dim]; positions [n] (or
 * NULL). */
int32_t kvb_ctx_head_tokens(const kvb_ctx *c, int32_t layer, int32_t head);
kvb_status kvb_ctx_head(const kvb_ctx *c, int32_t layer, int32_t head, kvb_tensor *keys, kvb_tensor *values,
                        int32_t *positions);
/* A new context that physically holds only what `keep` keeps: per-head lengths, bytes really freed once the old one is
 * closed. */
kvb_status kvb_ctx_evict(const kvb_ctx *c, const kvb_keep *keep, kvb_ctx **out);

/*
 * A new context for the same tokens with other keys or values, for presses that change what survives (merging,
 * rotating, pruning channels). keys (after RoPE) and values: contiguous f32 [layers, kv_heads, tokens, head_dim],
 * copied; NULL = those of `c`. It holds no observations. KVB_E_UNSUPPORTED for a ragged context.
 */
kvb_status kvb_ctx_variant(const kvb_ctx *c, const kvb_tensor *keys, const kvb_tensor *values, kvb_ctx **out);

/* ---- keep-sets: which tokens survive ----------------------------------------------------------------------------- */

/* All kept. Bits [layers, kv_heads, tokens]. Owns. */
kvb_status kvb_keep_new(int32_t layers, int32_t kv_heads, int32_t tokens, kvb_keep **out);
void kvb_keep_free(kvb_keep *k);
void kvb_keep_retain(kvb_keep *k);
/*
 * From ranks u32 [layers, kv_heads, tokens] (0 = most important) and thresholds [layers * kv_heads]:
 * token t of head (l, h) is kept iff ranks[l, h, t] < threshold[l, h]. Nested by construction. Ranks and bits that are
 * on a GPU make a keep-set there; the host gets its copy when it first asks. One thread at a time per keep-set.
 */
kvb_status kvb_keep_from_ranks(const kvb_tensor *ranks, const uint32_t *thresholds, kvb_keep **out);
/* From a u8 tensor [layers, kv_heads, tokens], non-zero = kept. */
kvb_status kvb_keep_from_bits(const kvb_tensor *bits, kvb_keep **out);
/* Copies the bits of a set that was made on a GPU to the host, once. The counting functions below do it by themselves
 * and then give 0 where it fails; after this they cannot. */
kvb_status kvb_keep_fetch(const kvb_keep *k);
kvb_status kvb_keep_to_bits(const kvb_keep *k, kvb_tensor *out); /* u8 [layers, kv_heads, tokens] */
kvb_status kvb_keep_copy(const kvb_keep *k, kvb_keep **out);
int32_t kvb_keep_layers(const kvb_keep *k);
int32_t kvb_keep_heads(const kvb_keep *k);
int32_t kvb_keep_tokens(const kvb_keep *k);
int32_t kvb_keep_kept(const kvb_keep *k, int32_t layer, int32_t head, int32_t token); /* 0 or 1; outside: 0 */
kvb_status kvb_keep_set(kvb_keep *k, int32_t layer, int32_t head, int32_t from, int32_t to, int32_t kept);
int32_t kvb_keep_count(const kvb_keep *k, int32_t layer, int32_t head, int32_t from, int32_t to); /* kept in a range */
/* out [layers * tokens]: how many KV heads of layer l keep token t. */
kvb_status kvb_keep_layer_counts(const kvb_keep *k, uint16_t *out);
/* Cells (layer, head) that keep every token of [from, to). */
int32_t kvb_keep_span_cells(const kvb_keep *k, int32_t from, int32_t to);
int64_t kvb_keep_total(const kvb_keep *k); /* kept pairs over all cells */
/* |a and b|, |a or b| over one head (layer < 0: over all) */
kvb_status kvb_keep_overlap(const kvb_keep *a, const kvb_keep *b, int32_t layer, int32_t head, int64_t *both,
                            int64_t *either);
/* A set of what one of two sets of the same shape keeps and the other does not; owns: kvb_keep_free. */
kvb_status kvb_keep_difference(const kvb_keep *a, const kvb_keep *b, kvb_keep **out);
uint64_t kvb_keep_hash(const kvb_keep *k); /* equal sets have equal hashes: equal conditions run once */
/*
 * The ledger's form of keep-sets: those of one press at one context, n in [1, 255] of one shape, by falling number
 * kept. pack: *data [*bytes] valid until this thread's next pack; small when each set is part of the one before.
 * unpack: set `which` (from 0) of such bytes, which need not be trusted (KVB_E_FORMAT); owns: kvb_keep_free.
 */
kvb_status kvb_ledger_pack(const kvb_keep *const *keeps, int32_t n, const void **data, int64_t *bytes);
kvb_status kvb_ledger_unpack(const void *data, int64_t bytes, int32_t which, kvb_keep **out);

/* ---- continuations: questions appended to (evicted) contexts ----------------------------------------------------- */

typedef struct kvb_batch kvb_batch;

enum { KVB_MAX_CLASSES = 8 }; /* of context tokens, in kvb_watch */
enum { KVB_IGNORE_STOP = 1, KVB_WANT_LOGITS = 2 };
typedef enum kvb_stop { KVB_STOP_TOKEN = 0, KVB_STOP_LENGTH = 1 } kvb_stop;

/* Replaces the residual stream that enters layer `layer` (the model's number of layers: the final norm) at own row
 * `row` (0 = the first question token, n = the first generated one). */
typedef struct kvb_patch {
    int32_t layer, row;
    const float *hidden;  /* [hidden], copied */
} kvb_patch;

/* What to record of a continuation beside its answer. All lists are copied. */
typedef struct kvb_watch {
    /* The residual stream that enters these layers (as in kvb_patch, after any patch) at these own rows. */
    const int32_t *hidden_layers, *hidden_rows;
    int32_t n_hidden_layers, n_hidden_rows;
    /*
     * Attention, softmax over what the row sees. Rows are own rows, from 0 (the first question token); every range lies
     * within those that can run. Not for contexts after kvb_ctx_evict.
     */
    int32_t n_classes;      /* 1 to 8 */
    uint32_t within;        /* bit per class: the tokens that top_within may name */
    const uint8_t *classes; /* [tokens of the context], each < n_classes; NULL: all 0 */
    int32_t attention_from, attention_rows; /* top, top_within and mass of these rows */
    int32_t weights_from, weights_rows;     /* whole rows of attention, all heads of weight_layers */
    const int32_t *weight_layers;
    int32_t n_weight_layers;
    int32_t n_keeps;
    int32_t keeps_from, keeps_rows; /* recall and error of these rows */
    kvb_keep *const *keeps;         /* [n_keeps], retained */
} kvb_watch;

typedef struct kvb_request {
    kvb_ctx *ctx;         /* retained until the result is taken */
    kvb_keep *keep;       /* NULL: everything; retained likewise */
    const int32_t *ids;   /* question tokens, copied */
    int32_t n;            /* >= 1 */
    int32_t position;     /* of the first question token; -1 = kvb_ctx_tokens(ctx) */
    int32_t max_new;      /* tokens to generate; 0 with KVB_WANT_LOGITS or a watch runs the given tokens only */
    int32_t flags;
    int32_t pause_after;  /* > 0: stand still after that many steps (the question is the first): kvb_batch_paused */
    int32_t trunk;        /* > 0: the first `trunk` < n tokens are shared with requests of the same ctx, keep, position
                           * and tokens, and computed once for all of them: the same results, fewer rows */
    int32_t logits_from;  /* KVB_WANT_LOGITS: of the question tokens from this one on, 0 <= logits_from < n */
    const float *temperature; /* [layers] or NULL: factors (1 / tau) of the attention logits of its rows; copied */
    const kvb_patch *patches; /* [n_patches], copied */
    const kvb_watch *watch;   /* NULL: nothing is recorded */
    int32_t n_patches;
    int64_t tag;          /* yours */
} kvb_request;

/* A sequence that stands still, so that someone can evict keys of its passage, its question and its answer. */
typedef struct kvb_paused {
    int64_t tag;
    kvb_ctx *prefix;      /* its passage; retain it to keep it */
    kvb_ctx *own;         /* keys, values and queries of what was appended, rows [0, own_tokens) of `capacity` */
    int32_t own_tokens;
    int32_t capacity;     /* kvb_ctx_tokens(own) */
    int32_t position;     /* of own row 0 */
    int32_t question;     /* how many of the own rows are the question */
} kvb_paused;

typedef struct kvb_result {
    int64_t tag;
    const int32_t *ids;    /* generated tokens, a final stop token included */
    const float *margins;  /* per generated token: logit of the best minus the second best */
    const float *logits;   /* [n_logits, vocab], question tokens from logits_from on, with KVB_WANT_LOGITS; else NULL */
    int32_t n;
    int32_t n_logits;
    int32_t stop;          /* kvb_stop */
    int32_t rows;          /* own rows that ran: the question's, then one per generated token but the last */
    /* What kvb_watch asked for, else NULL; rows that never ran are 0. */
    const float *hidden;   /* [n_hidden_layers, n_hidden_rows, hidden] */
    const int32_t *top;    /* [attention_rows, layers, heads]: the context token of largest weight, -1 = none visible */
    const int32_t *top_within; /* the same among the classes of `within` */
    const float *mass;     /* [attention_rows, layers, heads, n_classes + 1]: weight by class, own tokens last */
    const float *weights;  /* [weights_rows, n_weight_layers, heads, tokens + n + max_new]: the context's, then own */
    const float *recall;   /* [keeps_rows, n_keeps, layers, heads]: share of the weight on the context that is kept */
    const float *error;    /* the same shape: |o_a - o| / |o|, o_a the head's output over what is kept and own tokens */
} kvb_result;

/* stop_ids [n_stop] end a continuation. max_bytes bounds the KV of what is in flight (0 = a default); more requests
 * wait. Owns. */
kvb_status kvb_batch_new(kvb_model *m, const int32_t *stop_ids, int32_t n_stop, int64_t max_bytes, kvb_batch **out);
void kvb_batch_free(kvb_batch *b);
/* Whether a sequence that ends gives its place to the next at once (1, as at first) or no place is taken before all of
 * those in flight have ended (0): the same answers, later. */
void kvb_batch_refill(kvb_batch *b, int32_t on);
/* How often memory ran out while a request was admitted. Each time the bytes that may be in flight shrink to those that
 * are: bytes (NULL is fine). */
int32_t kvb_batch_shrunk(const kvb_batch *b, int64_t *bytes);
/* Memory ran out beside the batch: it gives back what nobody holds and (ask) from now on has half of what is in flight.
 * 2: more is in flight still: call again, without asking, after a step; 1: try what failed again; 0: it had nothing. */
int32_t kvb_batch_relieve(kvb_batch *b, int32_t ask);
/* Queues a request. Never blocks; KVB_E_ARG when it could not fit the model's positions. */
kvb_status kvb_batch_add(kvb_batch *b, const kvb_request *request);
/* Runs one packed step; *pending = requests queued or in flight after it (0 = nothing left to do). */
kvb_status kvb_batch_step(kvb_batch *b, int32_t *pending);
int32_t kvb_batch_queued(const kvb_batch *b);    /* waiting for admission */
int32_t kvb_batch_in_flight(const kvb_batch *b);
/* A sequence that stands still: 1 and `out` (borrowed, valid until it is resumed), the same one until then; or 0. */
int32_t kvb_batch_paused(kvb_batch *b, kvb_paused *out);
/*
 * Lets the sequence of that tag go on. prefix: another variant of its passage (kvb_ctx_variant), NULL: as before. keep
 * [layers, kv_heads, tokens] and own_keep [layers, kv_heads, capacity] replace what it sees of the passage and of
 * itself; NULL: everything. All are retained. The next pause is after pause_after more steps (0: none).
 */
kvb_status kvb_batch_resume(kvb_batch *b, int64_t tag, kvb_ctx *prefix, kvb_keep *keep, kvb_keep *own_keep,
                            int32_t pause_after);
/* Overwrites the values of the own tokens of a sequence that stands still: contiguous f32 [layers, kv_heads,
 * own_tokens, head_dim]. For rules that merge what they evict. */
kvb_status kvb_batch_own_values(kvb_batch *b, int64_t tag, const kvb_tensor *values);
/* Pops one finished continuation in order of completion. Returns 1 and fills out (valid until the next kvb_batch call),
 * or 0. */
int32_t kvb_batch_next(kvb_batch *b, kvb_result *out);
/* Rows (tokens) pushed through the model so far, padding excluded and included; steps. */
int64_t kvb_batch_rows(const kvb_batch *b);
int64_t kvb_batch_padded_rows(const kvb_batch *b);
int64_t kvb_batch_steps(const kvb_batch *b);

/* ---- logit lens -------------------------------------------------------------------------------------------------- */

/* Final norm and LM head over hidden states [n, hidden] (levels of kvb_watch): logits [n, vocab]. Contiguous f32 in the
 * host's memory. */
kvb_status kvb_model_lens(kvb_model *m, const kvb_tensor *hidden, kvb_tensor *logits);

/* ---- scoring distributions --------------------------------------------------------------------------------------- */

/*
 * logits [n, vocab] f32 on the host, contiguous. lse [n]: ln sum exp of each row; logprob [n]: ln softmax of token
 * ids[i] in row i (ids and logprob may both be NULL). Sums in double, in one order. Errors: KVB_E_SHAPE, KVB_E_ARG (an
 * id outside).
 */
kvb_status kvb_score_logprobs(const kvb_tensor *logits, const int32_t *ids, double *lse, double *logprob);
/*
 * kl [n], nats: KL(p || q) of the rows of two such tensors, with their lse from kvb_score_logprobs. Exactly 0 for equal
 * rows, never below.
 */
kvb_status kvb_score_kl(const kvb_tensor *p, const double *p_lse, const kvb_tensor *q, const double *q_lse, double *kl);

/* ---- benchmarks -------------------------------------------------------------------------------------------------- */

/*
 * `repeats` times the products of the decoder over `rows` rows (a bucket) of noise, back to back: which = 0 qkv, 1 o, 2
 * gate and up, 3 down of every layer, 4 the LM head (its first chunk), -1 the four layer products in the step's order.
 * Fills wall seconds and floating-point operations. The upper limit of what a step can reach.
 */
kvb_status kvb_bench_products(kvb_model *m, int32_t which, int32_t rows, int32_t repeats, double *seconds,
                              double *flops);
/* `repeats` copies of `bytes` within the device's memory: bytes read and written are 2 * bytes * repeats. */
kvb_status kvb_bench_copy(int32_t device, int64_t bytes, int32_t repeats, double *seconds);
/* Where the steps' time goes on a device: while on, each group of launches is timed. seconds [5]: products, attention,
 * the rest of the layers, LM head with argmax, everything. Reading resets. KVB_E_UNSUPPORTED on backends without it. */
kvb_status kvb_profile_set(kvb_model *m, int32_t on);
kvb_status kvb_profile_read(kvb_model *m, double *seconds);

/* ---- linear probes ----------------------------------------------------------------------------------------------- */

/*
 * Multinomial logistic regression on some rows of x: the minimum over W, b of mean cross-entropy + l2 / 2 |W|^2.
 *
 *   x        [items, features] f32 in the host's memory, rows contiguous; borrowed
 *   labels   [items], 0 <= label < classes (checked for the rows used)
 *   rows     [n], the items to learn from, n >= 1
 *   standard 1: features are standardised by mean and spread of these rows (a feature that does not vary counts
 *            nothing) and l2 acts on those; the weights returned are for raw rows either way
 *   most     iterations at most;  tolerance: |gradient| <= tolerance * max(1, |W|) ends the search (1e-4 is plenty:
 *            products are f32)
 *   weights  [classes, features + 1] f32, written; the last column is the offset
 *   report   [4], written: loss, norm of the gradient, iterations, 1 when the tolerance was met
 *
 * Source: L-BFGS, Liu & Nocedal, Math. Programming 45, 1989 (liblbfgs). Cost: two products of n x features x classes an
 * evaluation; memory 4 n features bytes. Errors: KVB_E_ARG (ranges, a value that is not finite), KVB_E_SHAPE,
 * KVB_E_MEMORY, KVB_E_CANCELLED (polled each iteration).
 */
kvb_status kvb_probe_fit(const kvb_tensor *x, const int32_t *labels, const int32_t *rows, int32_t n, int32_t classes,
                         double l2, int32_t standard, int32_t most, double tolerance, kvb_tensor *weights,
                         double *report);
/* Log-probabilities [n, classes] f32 of those rows under weights of kvb_probe_fit; sums in double. */
kvb_status kvb_probe_predict(const kvb_tensor *x, const int32_t *rows, int32_t n, const kvb_tensor *weights,
                             kvb_tensor *out);

/* ---- drawing ----------------------------------------------------------------------------------------------------- */
/*[canvas]*/
/*
 * A canvas records drawing commands once and saves them as PNG, PDF or SVG. Coordinates and sizes are points (1/72
 * inch), x to the right, y down; colours are 0xRRGGBBAA; text is UTF-8 (ill-formed bytes are drawn as U+FFFD, control
 * characters as spaces). A command that fails leaves its reason in the canvas and kvb_canvas_save reports it. Drawing
 * belongs to one thread.
 *
 * The font is $KVBENCH_FONT (a .ttf/.otf file, or a folder with DejaVuSans.ttf), else fonts/DejaVuSans.ttf beside or
 * above the binary, else what fontconfig gives for "DejaVu Sans". Bold is the file's "-Bold" sibling, or synthesised.
 */
typedef struct kvb_canvas kvb_canvas;

/* White, width x height points, each in [1, 14400]. Owns. */
kvb_status kvb_canvas_new(double width, double height, kvb_canvas **out);
void kvb_canvas_free(kvb_canvas *c);
/* The current path. rect and arc start a sub-path of their own; angles in degrees, clockwise from the x axis. */
void kvb_canvas_move(kvb_canvas *c, double x, double y);
void kvb_canvas_line(kvb_canvas *c, double x, double y);
void kvb_canvas_close(kvb_canvas *c);
void kvb_canvas_rect(kvb_canvas *c, double x, double y, double width, double height);
void kvb_canvas_arc(kvb_canvas *c, double x, double y, double radius, double from, double to);
/* Paint the current path; both end it, except that a fill with keep_path = 1 leaves it for a stroke. dash [n_dash]
 * (n_dash = 0: solid) alternates lengths on and off and is copied. Joins are round; caps are butt when dashed, else
 * round. */
void kvb_canvas_stroke(kvb_canvas *c, double width, uint32_t rgba, const double *dash, int32_t n_dash);
void kvb_canvas_fill(kvb_canvas *c, uint32_t rgba, int32_t keep_path);
/* Everything drawn until the matching pop is cut to the rectangle. Nests. */
void kvb_canvas_clip_push(kvb_canvas *c, double x, double y, double width, double height);
void kvb_canvas_clip_pop(kvb_canvas *c);
/*
 * One line of text. anchor_x: 0 = (x, y) is its left end, .5 its middle, 1 its right end; anchor_y: 0 = y is the top of
 * its capitals, .5 their middle, 1 the baseline. degrees turn it counter-clockwise around (x, y). Errors: KVB_E_MISSING
 * (no font).
 */
kvb_status kvb_canvas_text(kvb_canvas *c, const char *text, int64_t bytes, double x, double y, double size,
                           int32_t bold, uint32_t rgba, double anchor_x, double anchor_y, double degrees);
/* out [3]: advance width, height of the capitals, depth of the font below the baseline, in points; needs no canvas. */
kvb_status kvb_text_measure(const char *text, int64_t bytes, double size, int32_t bold, double *out);
/* rgba [rows, columns], copied: a grid of equal cells that fills the rectangle, first row on top, without blending. */
kvb_status kvb_canvas_cells(kvb_canvas *c, double x, double y, double width, double height, int32_t rows,
                            int32_t columns, const uint32_t *rgba);
/*
 * Writes the file whole or not at all; its kind is the path's extension: .png (width * dpi / 72 pixels, rounded), .pdf
 * or .svg. dpi in [18, 1200], used for PNG only. The same commands give the same bytes. A canvas can be saved any
 * number of times. Errors: KVB_E_ARG (extension, dpi, more than 64 million pixels), KVB_E_IO, KVB_E_MEMORY.
 */
kvb_status kvb_canvas_save(kvb_canvas *c, const char *path, double dpi);
/*[/canvas]*/

/*[/cdef]*/
#ifdef __cplusplus
}
#endif
#endif
