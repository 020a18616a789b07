/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canvas.h - what canvas_font.c gives to canvas.c: a font to draw with, and texts that Cairo accepts.
 */
#ifndef KVB_CANVAS_H
#define KVB_CANVAS_H

#include "internal.h"
#include <cairo.h>

/* Opens the fonts, or opens them again when $KVBENCH_FONT has changed. Errors: KVB_E_MISSING, KVB_E_FORMAT. */
kvb_status kvb_font_ready(void);
kvb_status kvb_font_size_check(double size); /* KVB_E_ARG outside (0, 1000] */
/* Selects the font; kvb_font_ready must have succeeded. */
void kvb_font_set(cairo_t *cr, double size, int32_t bold);
/* out [3] of a clean text in the selected font: advance, height of "H", descent of the font. */
void kvb_font_measure(cairo_t *cr, const char *text, double *out);
/* A NUL-terminated, well-formed copy (Cairo refuses all that follows an ill-formed byte). Owns: kvb_free. NULL: failed.
 */
char *kvb_text_clean(const char *text, int64_t bytes);

#endif
