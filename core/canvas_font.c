/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canvas_font.c - the font of figures, and how large a text in it is.
 *
 * One typeface in two weights, opened from a file through FreeType and kept for the life of the process; the first of
 * $KVBENCH_FONT, fonts/ beside the binary, and what fontconfig offers. Hinting is off, so that a text is exactly as
 * wide at 300 dpi as in the PDF, and one measure serves every format. Rejected: Cairo's own selection by family name.
 * It always asks fontconfig, which a bare machine may not have configured.
 */
#include "canvas.h"
#include <cairo-ft.h>
#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utf8proc.h>
#include FT_FREETYPE_H

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

/* A configuration of its own, given back: the process-wide one cannot be freed safely while others may use it. */
static bool font_from_system(char *out, size_t room) {
    bool found = false;
    FcConfig *config = FcInitLoadConfigAndFonts();
    FcPattern *wanted = FcNameParse((const FcChar8 *)"DejaVu Sans:style=Book:scalable=true");
    if (config && wanted) {
        FcResult result;
        FcChar8 *file;
        FcConfigSubstitute(config, wanted, FcMatchPattern);
        FcDefaultSubstitute(wanted);
        FcPattern *match = FcFontMatch(config, wanted, &result);
        if (match && FcPatternGetString(match, FC_FILE, 0, &file) == FcResultMatch)
            found = snprintf(out, room, "%s", (const char *)file) < (int)room && access(out, R_OK) == 0;
        if (match) FcPatternDestroy(match);
    }
    if (wanted) FcPatternDestroy(wanted);
    if (config) FcConfigDestroy(config);
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

kvb_status kvb_font_ready(void) {
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

void kvb_font_set(cairo_t *cr, double size, int32_t bold) {
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(cr, options);
    cairo_font_options_destroy(options);
    cairo_set_font_face(cr, fonts.face[bold ? 1 : 0]);
    cairo_set_font_size(cr, size);
}

char *kvb_text_clean(const char *text, int64_t bytes) {
    if (bytes < 0 || bytes > (1 << 20)) {
        kvb_fail(KVB_E_ARG, "a text of %lld bytes in a figure; the limit is 1048576", (long long)bytes);
        return NULL;
    }
    char *out = kvb_alloc_raw(kvb_add_size(kvb_mul_size((size_t)bytes, 3), 1), KVB_MEM_OTHER);
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

kvb_status kvb_font_size_check(double size) {
    if (size > 0 && size <= 1000) return KVB_OK;
    return kvb_fail(KVB_E_ARG, "a font size of %g points, must be above 0 and at most 1000", size);
}

void kvb_font_measure(cairo_t *cr, const char *text, double *out) {
    cairo_text_extents_t line, capital;
    cairo_font_extents_t font;
    cairo_text_extents(cr, text, &line);
    cairo_text_extents(cr, "H", &capital);
    cairo_font_extents(cr, &font);
    out[0] = line.x_advance;
    out[1] = -capital.y_bearing;
    out[2] = font.descent;
}

kvb_status kvb_text_measure(const char *text, int64_t bytes, double size, int32_t bold, double *out) {
    static cairo_t *ruler; /* kept: a measure is needed for every tick */
    KVB_TRY(kvb_font_ready());
    KVB_TRY(kvb_font_size_check(size));
    if (!ruler) {
        cairo_surface_t *surface = cairo_recording_surface_create(CAIRO_CONTENT_COLOR_ALPHA, NULL);
        ruler = cairo_create(surface);
        cairo_surface_destroy(surface);
    }
    char *clean = kvb_text_clean(text, bytes);
    if (!clean) return kvb_diag_code();
    kvb_font_set(ruler, size, bold);
    kvb_font_measure(ruler, clean, out);
    kvb_free(clean);
    cairo_status_t status = cairo_status(ruler);
    if (status == CAIRO_STATUS_SUCCESS) return KVB_OK;
    cairo_destroy(ruler); /* an error would stick to it */
    ruler = NULL;
    return kvb_fail(KVB_E_INTERNAL, "cairo while measuring a text: %s", cairo_status_to_string(status));
}
