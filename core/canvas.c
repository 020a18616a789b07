/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canvas.c - figures: a small drawing vocabulary over Cairo.
 *
 * Commands go into a recording surface and are replayed into the file at the end, so PNG, PDF and SVG show the same
 * drawing. Invariant: same commands, same font file -> same bytes; therefore hinting is off, the PDF's date is fixed
 * and the running surface numbers that Cairo puts into SVG ids are renumbered. PNG goes through stb_image_write with
 * zlib as its compressor: stb's own asserts when memory runs out, and packs worse. Rejected: Cairo's font selection (a
 * bare machine has no fonts; a file beside the binary must do, and the bytes of a figure should not depend on what
 * fontconfig finds first); one surface per format fed in parallel (three times the errors).
 */
#include "internal.h"
#include <cairo-ft.h>
#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <cairo.h>
#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utf8proc.h>
#include <zlib.h>
#include FT_FREETYPE_H

static unsigned char *png_deflate(unsigned char *data, int bytes, int *out_bytes, int quality);

#define STBIW_MALLOC(bytes)     kvb_alloc_raw(bytes, KVB_MEM_OTHER)
#define STBIW_REALLOC(p, bytes) kvb_realloc(p, bytes, KVB_MEM_OTHER)
#define STBIW_FREE(p)           kvb_free(p)
#define STBIW_ZLIB_COMPRESS     png_deflate
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

enum { MAX_POINTS = 14400, MAX_PIXELS = 64 * 1000 * 1000, MAX_SIDE = 32000 };
static const double full_turn = 6.283185307179586;

struct kvb_canvas {
    cairo_surface_t *recording;
    cairo_t *cr;
    double width, height;
};

/* ---- fonts ------------------------------------------------------------------------------------------------ */

/* Loaded at first use and kept; loaded again when $KVBENCH_FONT has changed since. */
static struct {
    FT_Library library;
    cairo_font_face_t *face[2]; /* regular, bold */
    char chosen_by[PATH_MAX];   /* the value of $KVBENCH_FONT they were loaded under */
} fonts;

static const cairo_user_data_key_t ft_face_key;

static void free_ft_face(void *face) { FT_Done_Face(face); }

static cairo_font_face_t *open_face(const char *path) {
    FT_Face ft_face;
    if (FT_New_Face(fonts.library, path, 0, &ft_face) != 0) return NULL;
    cairo_font_face_t *face = cairo_ft_font_face_create_for_ft_face(ft_face, FT_LOAD_NO_HINTING);
    if (cairo_font_face_set_user_data(face, &ft_face_key, ft_face, free_ft_face) != CAIRO_STATUS_SUCCESS) {
        cairo_font_face_destroy(face);
        FT_Done_Face(ft_face);
        return NULL;
    }
    return face;
}

/* "x/Name.ttf" -> "x/Name-Bold.ttf" */
static void bold_sibling(const char *path, char *out, size_t room) {
    const char *dot = strrchr(path, '.');
    int stem = dot ? (int)(dot - path) : (int)strlen(path);
    snprintf(out, room, "%.*s-Bold%s", stem, path, dot ? dot : "");
}

static bool font_from_setting(const char *setting, char *out, size_t room) {
    if (kvb_path_kind(setting) == 2)
        snprintf(out, room, "%s/DejaVuSans.ttf", setting);
    else
        snprintf(out, room, "%s", setting);
    return access(out, R_OK) == 0;
}

static bool font_beside_binary(char *out, size_t room) {
    static const char *const places[] = {"fonts", "../fonts", "share/fonts", "../share/fonts"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return false;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (!slash) return false;
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(out, room, "%s/%s/DejaVuSans.ttf", exe, places[i]);
        if (access(out, R_OK) == 0) return true;
    }
    return false;
}

static bool font_from_system(char *out, size_t room) {
    bool found = false;
    FcPattern *wanted = FcNameParse((const FcChar8 *)"DejaVu Sans:style=Book:scalable=true");
    if (!wanted) return false;
    FcConfigSubstitute(NULL, wanted, FcMatchPattern);
    FcDefaultSubstitute(wanted);
    FcResult result;
    FcPattern *match = FcFontMatch(NULL, wanted, &result);
    FcChar8 *file;
    if (match && FcPatternGetString(match, FC_FILE, 0, &file) == FcResultMatch)
        found = snprintf(out, room, "%s", (const char *)file) < (int)room && access(out, R_OK) == 0;
    if (match) FcPatternDestroy(match);
    FcPatternDestroy(wanted);
    return found;
}

static kvb_status find_font(const char *setting, char *path, size_t room) {
    if (*setting) {
        if (font_from_setting(setting, path, room)) return KVB_OK;
        kvb_fail(KVB_E_MISSING, "KVBENCH_FONT is '%s', but no font can be read at '%s'", setting, path);
        kvb_hint("-> point it at a .ttf file or at a folder with DejaVuSans.ttf, or unset it");
        return KVB_E_MISSING;
    }
    if (font_beside_binary(path, room) || font_from_system(path, room)) return KVB_OK;
    kvb_fail(KVB_E_MISSING, "no font for figures: none in fonts/ beside the binary and none known to fontconfig");
    kvb_hint("-> install fonts-dejavu-core, or set KVBENCH_FONT to a .ttf file");
    return KVB_E_MISSING;
}

static kvb_status need_fonts(void) {
    const char *setting = getenv("KVBENCH_FONT");
    if (!setting) setting = "";
    if (fonts.face[0] && strcmp(setting, fonts.chosen_by) == 0) return KVB_OK;
    if (strlen(setting) >= sizeof fonts.chosen_by)
        return kvb_fail(KVB_E_ARG, "KVBENCH_FONT has %zu bytes", strlen(setting));
    if (!fonts.library && FT_Init_FreeType(&fonts.library) != 0) return kvb_fail(KVB_E_MEMORY, "FreeType cannot start");
    char path[PATH_MAX + 64], bold[PATH_MAX + 80];
    KVB_TRY(find_font(setting, path, sizeof path));
    cairo_font_face_t *regular = open_face(path);
    if (!regular) {
        kvb_fail(KVB_E_FORMAT, "'%s' is not a font that FreeType can read", path);
        kvb_hint("-> set KVBENCH_FONT to a .ttf or .otf file");
        return KVB_E_FORMAT;
    }
    bold_sibling(path, bold, sizeof bold);
    cairo_font_face_t *heavy = open_face(bold);
    if (!heavy && (heavy = open_face(path))) cairo_ft_font_face_set_synthesize(heavy, CAIRO_FT_SYNTHESIZE_BOLD);
    if (!heavy) heavy = cairo_font_face_reference(regular);
    for (int i = 0; i < 2; i++) cairo_font_face_destroy(fonts.face[i]);
    fonts.face[0] = regular;
    fonts.face[1] = heavy;
    snprintf(fonts.chosen_by, sizeof fonts.chosen_by, "%s", setting);
    return KVB_OK;
}

/* Without hinting a text is exactly as wide at 300 dpi as in the PDF. */
static void set_font(cairo_t *cr, double size, int32_t bold) {
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(cr, options);
    cairo_font_options_destroy(options);
    cairo_set_font_face(cr, fonts.face[bold ? 1 : 0]);
    cairo_set_font_size(cr, size);
}

/* A NUL-terminated, well-formed copy: Cairo refuses all that follows a single ill-formed byte. */
static char *clean_text(const char *text, int64_t bytes) {
    if (bytes < 0 || bytes > (1 << 20)) {
        kvb_fail(KVB_E_ARG, "a text of %lld bytes in a figure; the limit is 1048576", (long long)bytes);
        return NULL;
    }
    char *out = kvb_alloc_raw((size_t)bytes * 3 + 1, KVB_MEM_OTHER);
    if (!out) return NULL;
    int64_t n = 0;
    for (int64_t i = 0; i < bytes;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + i, bytes - i, &code);
        if (step < 1) {
            code = 0xFFFD;
            step = 1;
        }
        if (code < 0x20 || code == 0x7F) code = ' ';
        n += utf8proc_encode_char(code, (utf8proc_uint8_t *)out + n);
        i += step;
    }
    out[n] = 0;
    return out;
}

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
    cairo_rectangle_t extents = {0, 0, width, height};
    c->width = width;
    c->height = height;
    c->recording = cairo_recording_surface_create(CAIRO_CONTENT_COLOR_ALPHA, &extents);
    c->cr = cairo_create(c->recording);
    cairo_status_t status = cairo_status(c->cr);
    if (status != CAIRO_STATUS_SUCCESS) {
        kvb_canvas_free(c);
        return cairo_failed("making a canvas", status);
    }
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    *out = c;
    return KVB_OK;
}

void kvb_canvas_free(kvb_canvas *c) {
    if (!c) return;
    cairo_destroy(c->cr);
    cairo_surface_destroy(c->recording);
    kvb_free(c);
}

static void set_colour(cairo_t *cr, uint32_t rgba) {
    cairo_set_source_rgba(cr, (rgba >> 24) / 255.0, (rgba >> 16 & 255) / 255.0, (rgba >> 8 & 255) / 255.0,
                          (rgba & 255) / 255.0);
}

void kvb_canvas_move(kvb_canvas *c, double x, double y) { cairo_move_to(c->cr, x, y); }
void kvb_canvas_line(kvb_canvas *c, double x, double y) { cairo_line_to(c->cr, x, y); }
void kvb_canvas_close(kvb_canvas *c) { cairo_close_path(c->cr); }

void kvb_canvas_rect(kvb_canvas *c, double x, double y, double width, double height) {
    cairo_rectangle(c->cr, x, y, width, height);
}

void kvb_canvas_arc(kvb_canvas *c, double x, double y, double radius, double from, double to) {
    cairo_new_sub_path(c->cr);
    cairo_arc(c->cr, x, y, radius, from / 360 * full_turn, to / 360 * full_turn);
}

void kvb_canvas_stroke(kvb_canvas *c, double width, uint32_t rgba, const double *dash, int32_t n_dash) {
    set_colour(c->cr, rgba);
    cairo_set_line_width(c->cr, width);
    cairo_set_dash(c->cr, dash, n_dash, 0);
    cairo_set_line_cap(c->cr, n_dash > 0 ? CAIRO_LINE_CAP_BUTT : CAIRO_LINE_CAP_ROUND);
    cairo_stroke(c->cr);
}

void kvb_canvas_fill(kvb_canvas *c, uint32_t rgba, int32_t keep_path) {
    set_colour(c->cr, rgba);
    if (keep_path)
        cairo_fill_preserve(c->cr);
    else
        cairo_fill(c->cr);
}

void kvb_canvas_clip_push(kvb_canvas *c, double x, double y, double width, double height) {
    cairo_save(c->cr);
    cairo_new_path(c->cr);
    cairo_rectangle(c->cr, x, y, width, height);
    cairo_clip(c->cr);
}

void kvb_canvas_clip_pop(kvb_canvas *c) { cairo_restore(c->cr); }

/* out: advance, height of "H", descent of the font. */
static void measure(cairo_t *cr, const char *text, double *out) {
    cairo_text_extents_t line, capital;
    cairo_font_extents_t font;
    cairo_text_extents(cr, text, &line);
    cairo_text_extents(cr, "H", &capital);
    cairo_font_extents(cr, &font);
    out[0] = line.x_advance;
    out[1] = -capital.y_bearing;
    out[2] = font.descent;
}

kvb_status kvb_canvas_text(kvb_canvas *c, const char *text, int64_t bytes, double x, double y, double size,
                           int32_t bold, uint32_t rgba, double anchor_x, double anchor_y, double degrees) {
    KVB_TRY(need_fonts());
    char *clean = clean_text(text, bytes);
    if (!clean) return kvb_diag_code();
    double box[3];
    cairo_save(c->cr);
    set_font(c->cr, size, bold);
    measure(c->cr, clean, box);
    set_colour(c->cr, rgba);
    cairo_translate(c->cr, x, y);
    if (degrees != 0) cairo_rotate(c->cr, -degrees / 360 * full_turn);
    cairo_move_to(c->cr, -anchor_x * box[0], (1 - anchor_y) * box[1]);
    cairo_show_text(c->cr, clean);
    cairo_restore(c->cr);
    cairo_new_path(c->cr);
    kvb_free(clean);
    return KVB_OK;
}

kvb_status kvb_text_measure(const char *text, int64_t bytes, double size, int32_t bold, double *out) {
    static cairo_t *ruler;
    KVB_TRY(need_fonts());
    if (!ruler) {
        cairo_surface_t *surface = cairo_recording_surface_create(CAIRO_CONTENT_COLOR_ALPHA, NULL);
        ruler = cairo_create(surface);
        cairo_surface_destroy(surface);
    }
    char *clean = clean_text(text, bytes);
    if (!clean) return kvb_diag_code();
    set_font(ruler, size, bold);
    measure(ruler, clean, out);
    kvb_free(clean);
    cairo_status_t status = cairo_status(ruler);
    return status == CAIRO_STATUS_SUCCESS ? KVB_OK : cairo_failed("measuring a text", status);
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
    bool fine = columns > 4 * width || rows > 4 * height;
    cairo_save(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_scale(c->cr, width / (columns * across), height / (rows * up));
    cairo_set_source_surface(c->cr, image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(c->cr), fine ? CAIRO_FILTER_GOOD : CAIRO_FILTER_NEAREST);
    cairo_new_path(c->cr);
    cairo_paint(c->cr); /* a fill would become a pattern in SVG, which some viewers do not draw */
    cairo_restore(c->cr);
    cairo_surface_destroy(image);
    return KVB_OK;
}

/* ---- saving ------------------------------------------------------------------------------------------------ */

typedef struct buffer {
    char *data;
    size_t n, room;
} buffer;

static bool buffer_append(buffer *b, const void *data, size_t bytes) {
    if (b->n + bytes > b->room) {
        size_t room = (b->n + bytes) * 2;
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

static cairo_status_t replay(const kvb_canvas *c, cairo_surface_t *target, double scale) {
    cairo_t *cr = cairo_create(target);
    cairo_scale(cr, scale, scale);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_set_source_surface(cr, c->recording, 0, 0);
    cairo_paint(cr);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    return status;
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

static unsigned char *png_deflate(unsigned char *data, int bytes, int *out_bytes, int quality) {
    (void)quality;
    uLongf n = compressBound((uLong)bytes);
    unsigned char *out = STBIW_MALLOC(n);
    if (!out) return NULL;
    if (compress2(out, &n, data, (uLong)bytes, Z_BEST_COMPRESSION) != Z_OK) {
        STBIW_FREE(out);
        return NULL;
    }
    *out_bytes = (int)n;
    return out;
}

static void stb_stream(void *context, void *data, int bytes) { buffer_append(context, data, (size_t)bytes); }

/* Cairo's native-endian premultiplied ARGB to packed RGB; the page is opaque, so nothing is lost by dropping alpha. */
static kvb_status encode_png(cairo_surface_t *image, int width, int height, buffer *out) {
    unsigned char *rgb = kvb_alloc_array((size_t)width * 3, (size_t)height, KVB_MEM_OTHER);
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
    cairo_status_t recorded = cairo_status(c->cr);
    if (recorded != CAIRO_STATUS_SUCCESS) return cairo_failed("recording a figure", recorded);
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
