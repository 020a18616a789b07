# SPDX-License-Identifier: Apache-2.0
# Thin: every target is one call of cmake, the binary or a script. `make help` lists them.
SAN     ?=
JOBS    ?= $(shell nproc)
build   := $(if $(SAN),build-san,build)
werror  := $(if $(filter true 1,$(CI)),ON,OFF)

# A fresh checkout fetches and installs by itself; KVB_OFFLINE=1 says that everything is already there.
KVB_OFFLINE ?=
# More goldens than the ones committed here: any folder of the same layout, by default one beside the checkout.
KVB_GOLDEN  ?= $(wildcard ../shared/golden)
export CI SAN KVB_GOLDEN

.PHONY: help setup build demo test bench bundle soak fuzz clean

help:
	@echo "make demo     install, build, fetch the model, run experiments/safety_cliff.lua, say where the figures are"
	@echo "make test     install, build, run every test (SAN=1: with address and undefined-behaviour sanitizers)"
	@echo "make setup    install the packages and fetch the default model (both others do this)"
	@echo "make build    build/kvbench"
	@echo "make bench    the benchmark sweep, as JSON"
	@echo "make soak     sweeps, prompts and faults for SOAK_MINUTES (20): flat memory, no wrong result"
	@echo "make fuzz     every parser under libFuzzer for FUZZ_SECONDS (600); needs clang 15 or newer"
	@echo "make bundle   build/bundle: a folder that runs on another Linux"
	@echo "make clean    remove the build folders"

setup:
ifeq ($(KVB_OFFLINE),)
	@scripts/install_packages.sh $(if $(filter true 1,$(CI)),$$(cat tests/packages.txt),)
	@scripts/fetch_model.sh
endif

build:
	@cmake -S . -B $(build) -G Ninja -DKVB_WERROR=$(werror) \
	  $(if $(SAN),-DKVB_SAN=address$(comma)undefined,) >$(build).log 2>&1 \
	  || { cat $(build).log; exit 1; }
	@rm -f $(build).log
	@cmake --build $(build) -j $(JOBS)
comma := ,

demo: setup
	@$(MAKE) --no-print-directory build
	@build/kvbench experiments/safety_cliff.lua

test: setup
	@$(MAKE) --no-print-directory build
	@tests/all.sh $(build)

bench: setup
	@$(MAKE) --no-print-directory build
	@build/kvbench bench sweep --model smollm2 --json

bundle: build
	@scripts/bundle.sh $(build) $(build)/bundle

soak: build
	@$(build)/kvbench --device cpu tests/soak.lua

fuzz:
	@tests/fuzz/libfuzzer.sh $(or $(FUZZ_SECONDS),600)

clean:
	rm -rf build build-san build-tsan build-fuzz
