/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canvas.c - figures: a small drawing vocabulary over Cairo.
 *
 * Commands are kept in a list and performed on a fresh Cairo surface when the canvas is saved, so PNG, PDF and SVG show
 * the same drawing and nothing is drawn that is not saved. Invariant: same commands, same font file -> same bytes;
 * therefore hinting is off, the PDF's date is fixed and the running numbers that Cairo puts into SVG ids are
 * renumbered. PNG goes through stb_image_write with zlib as its compressor: stb's own asserts when memory runs out, and
 * packs worse. Rejected: a Cairo recording surface instead of the list (Cairo 1.16 leaks it for every PDF and SVG, and
 * wraps the page in a transparency group); Cairo's font selection (a bare machine has no fonts, and a figure's bytes
 * should not depend on what fontconfig finds first).
 */
#include "canvas.h"
#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <math.h>
#include <stdio.h>
#include <zlib.h>

static unsigned char *png_deflate(unsigned char *data, int bytes, int *out_bytes, int quality);
static void png_free(void *p);

#define STBIW_MALLOC(bytes)     kvb_alloc_raw(bytes, KVB_MEM_OTHER)
#define STBIW_REALLOC(p, bytes) kvb_realloc(p, bytes, KVB_MEM_OTHER)
#define STBIW_FREE(p)           png_free(p)
#define STBIW_ZLIB_COMPRESS     png_deflate
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

enum { MAX_POINTS = 14400, MAX_PIXELS = 64 * 1000 * 1000, MAX_SIDE = 32000 };
static const double full_turn = 6.283185307179586;

typedef enum op_kind {
    OP_MOVE,
    OP_LINE,
    OP_CLOSE,
    OP_RECT,
    OP_ARC,
    OP_STROKE,
    OP_FILL,
    OP_CLIP,
    OP_UNCLIP,
    OP_TEXT,
    OP_CELLS
} op_kind;

typedef struct op {
    op_kind kind;
    uint32_t rgba;
    double v[6];            /* coordinates and the like, in the order of the public function */
    int32_t flag;           /* number of dashes, keep_path, bold or smooth */
    void *data;             /* dashes or text, owned */
    cairo_surface_t *image; /* cells, owned */
} op;

struct kvb_canvas {
    double width, height;
    op *ops;
    size_t n_ops, room;
    int32_t clips;     /* open ones */
    bool texts;        /* there is text, so saving needs the fonts */
    kvb_status status; /* of the first command that failed without being able to say so */
};

/* ---- commands ------------------------------------------------------------------------------------------------ */

static kvb_status cairo_failed(const char *doing, cairo_status_t status) {
    return kvb_fail(status == CAIRO_STATUS_NO_MEMORY ? KVB_E_MEMORY : KVB_E_INTERNAL, "cairo while %s: %s", doing,
                    cairo_status_to_string(status));
}

kvb_status kvb_canvas_new(double width, double height, kvb_canvas **out) {
    *out = NULL;
    if (!(width >= 1 && width <= MAX_POINTS && height >= 1 && height <= MAX_POINTS)) {
        kvb_fail(KVB_E_ARG, "a figure of %g x %g points (%g x %g in); each side must be 1 to %d points", width, height,
                 width / 72, height / 72, MAX_POINTS);
        kvb_hint("-> sizes are points, 72 to the inch; fewer rows of panels or a shorter caption make it lower");
        return KVB_E_ARG;
    }
    kvb_canvas *c = kvb_alloc(sizeof *c, KVB_MEM_OTHER);
    if (!c) return KVB_E_MEMORY;
    c->width = width;
    c->height = height;
    *out = c;
    return KVB_OK;
}

static void drop(op *o) {
    kvb_free(o->data);
    if (o->image) cairo_surface_destroy(o->image);
}

void kvb_canvas_free(kvb_canvas *c) {
    if (!c) return;
    for (size_t i = 0; i < c->n_ops; i++) drop(&c->ops[i]);
    kvb_free(c->ops);
    kvb_free(c);
}

/* Appends a command and takes what it owns, also when it fails. */
static kvb_status record(kvb_canvas *c, op o) {
    if (c->n_ops == c->room) {
        size_t room = c->room ? c->room * 2 : 256;
        op *grown = kvb_realloc(c->ops, kvb_mul_size(room, sizeof *grown), KVB_MEM_OTHER);
        if (!grown) {
            drop(&o);
            return c->status = KVB_E_MEMORY;
        }
        c->ops = grown;
        c->room = room;
    }
    c->ops[c->n_ops++] = o;
    return KVB_OK;
}

void kvb_canvas_move(kvb_canvas *c, double x, double y) { record(c, (op){.kind = OP_MOVE, .v = {x, y}}); }
void kvb_canvas_line(kvb_canvas *c, double x, double y) { record(c, (op){.kind = OP_LINE, .v = {x, y}}); }
void kvb_canvas_close(kvb_canvas *c) { record(c, (op){.kind = OP_CLOSE}); }

void kvb_canvas_rect(kvb_canvas *c, double x, double y, double width, double height) {
    record(c, (op){.kind = OP_RECT, .v = {x, y, width, height}});
}

void kvb_canvas_arc(kvb_canvas *c, double x, double y, double radius, double from, double to) {
    record(c, (op){.kind = OP_ARC, .v = {x, y, radius, from / 360 * full_turn, to / 360 * full_turn}});
}

void kvb_canvas_stroke(kvb_canvas *c, double width, uint32_t rgba, const double *dash, int32_t n_dash) {
    op o = {.kind = OP_STROKE, .rgba = rgba, .v = {width}};
    if (n_dash > 0) {
        size_t bytes = kvb_mul_size((size_t)n_dash, sizeof *dash);
        o.data = kvb_alloc_raw(bytes, KVB_MEM_OTHER);
        if (!o.data) {
            c->status = KVB_E_MEMORY;
            return;
        }
        memcpy(o.data, dash, bytes);
        o.flag = n_dash;
    }
    record(c, o);
}

void kvb_canvas_fill(kvb_canvas *c, uint32_t rgba, int32_t keep_path) {
    record(c, (op){.kind = OP_FILL, .rgba = rgba, .flag = keep_path});
}

void kvb_canvas_clip_push(kvb_canvas *c, double x, double y, double width, double height) {
    c->clips++;
    record(c, (op){.kind = OP_CLIP, .v = {x, y, width, height}});
}

void kvb_canvas_clip_pop(kvb_canvas *c) {
    if (c->clips-- > 0)
        record(c, (op){.kind = OP_UNCLIP});
    else
        c->status = KVB_E_ARG;
}

kvb_status kvb_canvas_text(kvb_canvas *c, const char *text, int64_t bytes, double x, double y, double size,
                           int32_t bold, uint32_t rgba, double anchor_x, double anchor_y, double degrees) {
    KVB_TRY(kvb_font_ready());
    KVB_TRY(kvb_font_size_check(size));
    char *clean = kvb_text_clean(text, bytes);
    if (!clean) return kvb_diag_code();
    c->texts = true;
    double turn = -degrees / 360 * full_turn;
    return record(
        c,
        (op){.kind = OP_TEXT, .rgba = rgba, .v = {x, y, size, anchor_x, anchor_y, turn}, .flag = bold, .data = clean});
}

/* Cells are pixels of a small image. Viewers of PDF and SVG may smooth an image that is enlarged much, whatever the
 * file asks for, so cells are repeated until smoothing would only touch their edges. */
static int32_t repeats(int32_t cells, double points) {
    double want = ceil(points * 2 / cells);
    return want < 1 ? 1 : want > 64 ? 64 : (int32_t)want;
}

kvb_status kvb_canvas_cells(kvb_canvas *c, double x, double y, double width, double height, int32_t rows,
                            int32_t columns, const uint32_t *rgba) {
    if (rows < 1 || columns < 1 || !(width > 0) || !(height > 0))
        return kvb_fail(KVB_E_ARG, "a grid of %d x %d cells on %g x %g points", rows, columns, width, height);
    int32_t up = repeats(rows, height), across = repeats(columns, width);
    if ((int64_t)rows * up > MAX_SIDE || (int64_t)columns * across > MAX_SIDE) {
        kvb_fail(KVB_E_ARG, "a grid of %d x %d cells; a side may have at most %d", rows, columns, MAX_SIDE);
        kvb_hint("-> average neighbouring rows or columns first");
        return KVB_E_ARG;
    }
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns * across, rows * up);
    cairo_status_t status = cairo_surface_status(image);
    if (status != CAIRO_STATUS_SUCCESS) {
        cairo_surface_destroy(image);
        return cairo_failed("making a grid of cells", status);
    }
    unsigned char *data = cairo_image_surface_get_data(image);
    int stride = cairo_image_surface_get_stride(image);
    for (int32_t r = 0; r < rows * up; r++) {
        uint32_t *line = (uint32_t *)(void *)(data + (size_t)r * (size_t)stride);
        for (int32_t k = 0; k < columns * across; k++) line[k] = rgba[(int64_t)(r / up) * columns + k / across] >> 8;
    }
    cairo_surface_mark_dirty(image);
    /* More than 4 cells a point is finer than print: then averaging beats dropping cells. */
    bool smooth = columns > 4 * width || rows > 4 * height;
    return record(c, (op){.kind = OP_CELLS, .v = {x, y, width, height}, .flag = smooth, .image = image});
}

/* ---- performing ------------------------------------------------------------------------------------------------ */

static void set_colour(cairo_t *cr, uint32_t rgba) {
    const double full = 255;
    cairo_set_source_rgba(cr, (rgba >> 24) / full, (rgba >> 16 & 255) / full, (rgba >> 8 & 255) / full,
                          (rgba & 255) / full);
}

static void perform_stroke(cairo_t *cr, const op *o) {
    set_colour(cr, o->rgba);
    cairo_set_line_width(cr, o->v[0]);
    cairo_set_dash(cr, o->data, o->flag, 0);
    cairo_set_line_cap(cr, o->flag ? CAIRO_LINE_CAP_BUTT : CAIRO_LINE_CAP_ROUND);
    cairo_stroke(cr);
}

static void perform_text(cairo_t *cr, const op *o) {
    double box[3];
    cairo_save(cr);
    kvb_font_set(cr, o->v[2], o->flag);
    kvb_font_measure(cr, o->data, box);
    set_colour(cr, o->rgba);
    cairo_translate(cr, o->v[0], o->v[1]);
    if (o->v[5] != 0) cairo_rotate(cr, o->v[5]);
    cairo_move_to(cr, -o->v[3] * box[0], (1 - o->v[4]) * box[1]);
    cairo_show_text(cr, o->data);
    cairo_restore(cr);
    cairo_new_path(cr);
}

static void perform_cells(cairo_t *cr, const op *o) {
    cairo_save(cr);
    cairo_translate(cr, o->v[0], o->v[1]);
    cairo_scale(cr, o->v[2] / cairo_image_surface_get_width(o->image),
                o->v[3] / cairo_image_surface_get_height(o->image));
    cairo_set_source_surface(cr, o->image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), o->flag ? CAIRO_FILTER_GOOD : CAIRO_FILTER_NEAREST);
    cairo_new_path(cr);
    cairo_paint(cr); /* a fill would become a pattern in SVG, which some viewers do not draw */
    cairo_restore(cr);
}

static void perform(cairo_t *cr, const op *o) {
    const double *v = o->v;
    switch (o->kind) {
    case OP_MOVE:
        cairo_move_to(cr, v[0], v[1]);
        break;
    case OP_LINE:
        cairo_line_to(cr, v[0], v[1]);
        break;
    case OP_CLOSE:
        cairo_close_path(cr);
        break;
    case OP_RECT:
        cairo_rectangle(cr, v[0], v[1], v[2], v[3]);
        break;
    case OP_ARC:
        cairo_new_sub_path(cr);
        cairo_arc(cr, v[0], v[1], v[2], v[3], v[4]);
        break;
    case OP_STROKE:
        perform_stroke(cr, o);
        break;
    case OP_FILL:
        set_colour(cr, o->rgba);
        cairo_fill_preserve(cr);
        if (!o->flag) cairo_new_path(cr);
        break;
    case OP_CLIP:
        cairo_save(cr);
        cairo_new_path(cr);
        cairo_rectangle(cr, v[0], v[1], v[2], v[3]);
        cairo_clip(cr);
        break;
    case OP_UNCLIP:
        cairo_restore(cr);
        break;
    case OP_TEXT:
        perform_text(cr, o);
        break;
    case OP_CELLS:
        perform_cells(cr, o);
        break;
    }
}

static cairo_status_t replay(const kvb_canvas *c, cairo_surface_t *target, double scale) {
    cairo_t *cr = cairo_create(target);
    cairo_scale(cr, scale, scale);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    for (size_t i = 0; i < c->n_ops; i++) perform(cr, &c->ops[i]);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    return status;
}

/* ---- saving ------------------------------------------------------------------------------------------------ */

typedef struct buffer {
    char *data;
    size_t n, room;
} buffer;

static bool buffer_append(buffer *b, const void *data, size_t bytes) {
    if (bytes > b->room - b->n) {
        size_t room = kvb_mul_size(kvb_add_size(b->n, bytes), 2);
        char *grown = kvb_realloc(b->data, room, KVB_MEM_OTHER);
        if (!grown) return false;
        b->data = grown;
        b->room = room;
    }
    if (bytes) memcpy(b->data + b->n, data, bytes);
    b->n += bytes;
    return true;
}

static cairo_status_t stream(void *closure, const unsigned char *data, unsigned int bytes) {
    return buffer_append(closure, data, bytes) ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_NO_MEMORY;
}

/* Finishes a vector surface; its bytes are in the buffer then. */
static kvb_status finish(const kvb_canvas *c, cairo_surface_t *surface) {
    cairo_status_t status = replay(c, surface, 1);
    cairo_surface_finish(surface);
    if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    return status == CAIRO_STATUS_SUCCESS ? KVB_OK : cairo_failed("drawing", status);
}

static kvb_status write_pdf(const kvb_canvas *c, buffer *out) {
    cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(stream, out, c->width, c->height);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z");
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATOR, "kvbench");
    return finish(c, surface);
}

enum { MAX_IDS = 256 };

/* Cairo names SVG elements by a counter of the process; here the n-th name to appear gets number n. */
static kvb_status renumber_ids(const buffer *in, buffer *out) {
    static const char *const names[] = {"surface", "image", "source", "mask", "clip"};
    uint64_t seen[MAX_IDS];
    int n_seen = 0;
    size_t done = 0;
    for (size_t i = 0; i + 1 < in->n; i++) {
        if (in->data[i] != '#' && in->data[i] != '"') continue;
        size_t at = i + 1, length = 0;
        for (size_t k = 0; k < sizeof names / sizeof *names && !length; k++)
            if (in->n - at > strlen(names[k]) && memcmp(in->data + at, names[k], strlen(names[k])) == 0)
                length = strlen(names[k]);
        if (length && at + length < in->n && in->data[at + length] == '-') length++; /* Cairo 1.18 writes source-5 */
        size_t digit = at + length, end = digit;
        uint64_t number = 0;
        while (end < in->n && in->data[end] >= '0' && in->data[end] <= '9')
            number = number * 10 + (uint64_t)(in->data[end++] - '0');
        if (!length || end == digit) continue;
        int index = 0;
        while (index < n_seen && seen[index] != number) index++;
        if (index == MAX_IDS) return kvb_fail(KVB_E_INTERNAL, "more than %d ids in one SVG", MAX_IDS);
        if (index == n_seen) seen[n_seen++] = number;
        char text[16];
        int bytes = snprintf(text, sizeof text, "%d", index + 1);
        if (!buffer_append(out, in->data + done, digit - done) || !buffer_append(out, text, (size_t)bytes))
            return KVB_E_MEMORY;
        done = end;
        i = end - 1;
    }
    return buffer_append(out, in->data + done, in->n - done) ? KVB_OK : KVB_E_MEMORY;
}

static kvb_status write_svg(const kvb_canvas *c, buffer *out) {
    buffer raw = {0};
    kvb_status status = finish(c, cairo_svg_surface_create_for_stream(stream, &raw, c->width, c->height));
    if (status == KVB_OK) status = renumber_ids(&raw, out);
    kvb_free(raw.data);
    return status;
}

/* stb loses the compressed bytes when its last allocation fails, so they are remembered here until they are freed. */
static unsigned char *png_packed;

static void png_free(void *p) {
    if (p == png_packed) png_packed = NULL;
    kvb_free(p);
}

static unsigned char *png_deflate(unsigned char *data, int bytes, int *out_bytes, int quality) {
    (void)quality;
    uLongf n = compressBound((uLong)bytes);
    png_packed = kvb_alloc_raw(n, KVB_MEM_OTHER);
    if (!png_packed) return NULL;
    if (compress2(png_packed, &n, data, (uLong)bytes, Z_BEST_COMPRESSION) != Z_OK) {
        png_free(png_packed);
        return NULL;
    }
    *out_bytes = (int)n;
    return png_packed;
}

static void stb_stream(void *context, void *data, int bytes) { buffer_append(context, data, (size_t)bytes); }

/* Cairo's native-endian premultiplied ARGB to packed RGB; the page is opaque, so nothing is lost by dropping alpha. */
static kvb_status encode_png(cairo_surface_t *image, int width, int height, buffer *out) {
    unsigned char *rgb = kvb_alloc_array(kvb_mul_size((size_t)width, 3), (size_t)height, KVB_MEM_OTHER);
    if (!rgb) return KVB_E_MEMORY;
    const unsigned char *data = cairo_image_surface_get_data(image);
    int stride = cairo_image_surface_get_stride(image);
    unsigned char *p = rgb;
    for (int y = 0; y < height; y++) {
        const uint32_t *line = (const uint32_t *)(const void *)(data + (size_t)y * (size_t)stride);
        for (int x = 0; x < width; x++) {
            *p++ = (unsigned char)(line[x] >> 16);
            *p++ = (unsigned char)(line[x] >> 8);
            *p++ = (unsigned char)line[x];
        }
    }
    int done = stbi_write_png_to_func(stb_stream, out, width, height, 3, rgb, width * 3);
    kvb_free(rgb);
    png_free(png_packed);
    if (!done || out->n == 0)
        return kvb_fail(KVB_E_MEMORY, "no memory to compress a PNG of %d x %d pixels", width, height);
    return KVB_OK;
}

static kvb_status write_png(const kvb_canvas *c, double dpi, buffer *out) {
    double width = round(c->width * dpi / 72), height = round(c->height * dpi / 72);
    if (width < 1) width = 1;
    if (height < 1) height = 1;
    if (width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS) {
        kvb_fail(KVB_E_ARG, "a PNG of %.0f x %.0f pixels; the limit is %d million pixels and %d on a side", width,
                 height, MAX_PIXELS / 1000000, MAX_SIDE);
        kvb_hint("-> lower dpi (it is %g), or save as PDF or SVG", dpi);
        return KVB_E_ARG;
    }
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    cairo_status_t drawn = replay(c, image, dpi / 72);
    cairo_surface_flush(image);
    kvb_status status = drawn == CAIRO_STATUS_SUCCESS ? encode_png(image, (int)width, (int)height, out)
                                                      : cairo_failed("drawing", drawn);
    cairo_surface_destroy(image);
    return status;
}

kvb_status kvb_canvas_save(kvb_canvas *c, const char *path, double dpi) {
    if (c->status == KVB_E_ARG) return kvb_fail(KVB_E_ARG, "a figure's clip was ended without having been started");
    if (c->status != KVB_OK) return kvb_fail(c->status, "no memory for the commands of a figure");
    if (c->texts) KVB_TRY(kvb_font_ready());
    if (!(dpi >= 18 && dpi <= 1200)) return kvb_fail(KVB_E_ARG, "dpi is %g, must be 18 to 1200", dpi);
    const char *name = strrchr(path, '/');
    const char *extension = strrchr(name ? name : path, '.');
    buffer out = {0};
    kvb_status status;
    if (extension && strcmp(extension, ".png") == 0) {
        status = write_png(c, dpi, &out);
    } else if (extension && strcmp(extension, ".pdf") == 0) {
        status = write_pdf(c, &out);
    } else if (extension && strcmp(extension, ".svg") == 0) {
        status = write_svg(c, &out);
    } else {
        status = kvb_fail(KVB_E_ARG, "figure '%s' has no known extension", path);
        kvb_hint("-> end it in .png, .pdf or .svg");
    }
    if (status == KVB_OK) status = kvb_file_write(path, out.data, (int64_t)out.n);
    kvb_free(out.data);
    return status;
}
