# SPDX-License-Identifier: Apache-2.0
# Writes the text of kvbench.h and ops.def into a C file as byte arrays (string literals have a length limit in C11).
function(embed path symbol)
  file(READ ${path} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  file(APPEND ${OUT} "const char ${symbol}[] = {${bytes}0};\n")
endfunction()
file(WRITE ${OUT} "/* generated from kvbench.h and ops.def */\n")
embed(${HEADER} kvb_header_text)
embed(${OPS} kvb_ops_text)
