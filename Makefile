# Build, test, bench and install. Sources and tests are found, never listed.
#
#   make                    library and program, in build/release
#   make test               installs what is missing, builds, runs the tests
#   make MODE=asan FOLDERS="support data" check     one mode, some folders of tests/
#   make MODULES="support tensor" check             only these modules of src/, and their tests
#   BUILD=DIR               another build folder;  V=1 shows the commands;  SKIP=FILES leaves out

MODE ?= release
Q := $(if $(V),,@)
BUILD ?= build
B := $(BUILD)/$(MODE)
PREFIX ?= /usr/local
comma := ,
VERSION := $(shell sed -n 's/^\#define CF_VERSION "\(.*\)"/\1/p' include/crossframe/support.h)

# ---- what runs where: folders of tests/, "all" for each of them --------------------------------
TEST_PLAN ?= release:all f64:autograd
ASAN_QUICK ?= support autograd data models
TEST_SECONDS ?= 300# longest one test program may take
BENCH_ARGS ?=
FUZZ_SECONDS ?= 60

# ---- libraries: the OpenMP build of OpenBLAS, also where another build is the system's default --
PACKAGES := hdf5 libpng zlib yaml-0.1 libcjson openblas libpcre2-8 libutf8proc libzip libturbojpeg
# Video files need FFmpeg; without it all else works, and the program says so.
FFMPEG := libavformat libavcodec libavutil libswscale
PACKAGES += $(if $(FFMPEG_OFF),,$(shell pkg-config --exists $(FFMPEG) && echo $(FFMPEG)))
# Pictures of a report's charts need librsvg, which draws SVG, and fontconfig, which knows the fonts.
RSVG := librsvg-2.0 cairo fontconfig
PACKAGES += $(if $(RSVG_OFF),,$(shell pkg-config --exists $(RSVG) && echo $(RSVG)))
OPENBLAS := $(patsubst %/libopenblas.so,%,$(firstword $(wildcard /usr/lib/*/openblas-openmp/libopenblas.so)))
PKG := $(if $(OPENBLAS),PKG_CONFIG_PATH=$(OPENBLAS)/pkgconfig:$$PKG_CONFIG_PATH) pkg-config
PKG_CFLAGS := $(shell $(PKG) --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell $(PKG) --libs $(PACKAGES) 2>/dev/null)
LIBS = $(PKG_LIBS) $(if $(OPENBLAS),-Wl$(comma)-rpath$(comma)$(OPENBLAS)) -lm

# ---- flags: no -ffast-math, it deletes NaN checks; only the kernels may contract to FMA ---------
# maybe-uninitialized cannot follow "untouched on failure" through the status of an inlined call.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-maybe-uninitialized
release := -O3 $(if $(ARCH),-march=$(ARCH))
f64 := -O2 -DCF_REAL=double
asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
        -DCF_ARENA_MALLOC
CPPFLAGS += -Iinclude -Isrc -D_GNU_SOURCE $(if $(filter libavformat,$(PACKAGES)),-DCF_HAVE_FFMPEG) \
            $(if $(filter librsvg-2.0,$(PACKAGES)),-DCF_HAVE_RSVG) $(PKG_CFLAGS) -MMD -MP
FLAGS = -std=c11 -g -fopenmp -fno-math-errno -ffp-contract=$(or $(CONTRACT),off) $(WARN) -Werror \
        $($(MODE)) $(KERNEL) $(CFLAGS)
# Nobody here asks for floating-point traps; with them gcc leaves loops with a choice scalar.
$(B)/src/tensor/%.o $(B)/src/autograd/%.o: CONTRACT := fast
$(B)/src/tensor/%.o $(B)/src/autograd/%.o $(B)/src/data/%.o: KERNEL := -fno-trapping-math
$(B)/tests/%.o: CPPFLAGS += -Itests

# ---- sources -----------------------------------------------------------------------------------
MODULES ?= $(filter-out cli,$(notdir $(patsubst %/,%,$(wildcard src/*/))))
SRC := $(filter-out $(SKIP),$(sort $(shell find $(MODULES:%=src/%) -name '*.c')))
CLI := $(wildcard src/cli/*.c)
FOLDERS ?= $(if $(filter file,$(origin MODULES)),all,$(MODULES))
TEST_ROOTS := $(if $(filter all,$(FOLDERS)),tests,$(wildcard $(FOLDERS:%=tests/%)))
TESTS := $(filter-out $(SKIP),$(sort $(if $(TEST_ROOTS),$(shell find $(TEST_ROOTS) -name 'test_*.c'))))
BENCHES := $(sort $(wildcard bench/bench_*.c))
FUZZERS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
PEERS := $(sort $(wildcard tests/peer/peer_*.c))

OBJ := $(SRC:%.c=$(B)/%.o)
LIB := $(B)/libcrossframe.a
PROGRAM := $(if $(and $(wildcard src/cli/main.c),$(filter file,$(origin MODULES))),$(B)/crossframe)
TEST_PROGRAMS := $(TESTS:%.c=$(B)/%)
BENCH_PROGRAMS := $(BENCHES:%.c=$(B)/%)
FUZZ_PROGRAMS := $(FUZZERS:%.c=$(B)/%)
PEER_PROGRAMS := $(PEERS:%.c=$(B)/%)

.PHONY: all tests check test test-full bench f64 asan asan-quick lint format fuzz demo install clean deps
.SECONDARY:
.SECONDEXPANSION:

all: $(LIB) $(PROGRAM)
tests: all $(TEST_PROGRAMS) $(if $(filter all fuzz,$(FOLDERS)),$(FUZZ_PROGRAMS))

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC $@")
	$(Q)$(CC) $(CPPFLAGS) $(FLAGS) -c -o $@ $<

# The list changes when a source comes or goes: then the library is made anew.
$(B)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(OBJ)' | cmp -s - $@ || echo '$(OBJ)' >$@
FORCE:

$(LIB): $(OBJ) $(B)/objects
	@rm -f $@
	$(if $(Q),@echo "  AR $@")
	$(Q)$(AR) rcs $@ $(OBJ)

$(B)/crossframe: $(CLI:%.c=$(B)/%.o) $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS)

# A test is one program; what its folder holds beside tests is linked with each of them.
helpers = $(patsubst %.c,$(B)/%.o,$(filter-out $(1)/test_%,$(wildcard $(1)/*.c)))
$(TEST_PROGRAMS): $(B)/%: $(B)/%.o $$(call helpers,$$(patsubst %/,%,$$(dir $$*))) $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LDFLAGS) -lcmocka $(LIBS)

$(BENCH_PROGRAMS) $(PEER_PROGRAMS): $(B)/%: $(B)/%.o $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS)

# A fuzz target defines LLVMFuzzerTestOneInput; fuzz_main.c feeds it files, or mutations of them.
$(FUZZ_PROGRAMS): $(B)/%: $(B)/%.o $(B)/tests/fuzz_main.o $(LIB)
	$(if $(Q),@echo "  LD $@")
	$(Q)$(CC) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS)

# ---- tests -------------------------------------------------------------------------------------
# Each step is a new make: pkg-config is asked after the packages are there.
JOBS ?= $(shell nproc)
STEP = $(MAKE) --no-print-directory -j$(JOBS)

deps:
	@scripts/install-deps

check: tests
	@BUILD=$(BUILD) SKIP='$(SKIP)' TEST_SECONDS=$(TEST_SECONDS) scripts/run-tests $(MODE):$(subst $() ,$(comma),$(strip $(FOLDERS)))

plan_mode = $(firstword $(subst :, ,$(1)))
plan_folders = $(subst $(comma), ,$(lastword $(subst :, ,$(1))))
run_plan = $(foreach p,$(1),$(STEP) MODE=$(call plan_mode,$(p)) FOLDERS="$(call plan_folders,$(p))" tests && ) \
	BUILD=$(BUILD) TEST_SECONDS=$(TEST_SECONDS) scripts/run-tests $(1)

test: deps
	@$(call run_plan,$(TEST_PLAN))

# Adds what takes minutes and gigabytes: the published sizes. make f64 and make asan are the other builds.
test-full: deps
	@export CF_TEST_FULL=1 TEST_SECONDS=3600; $(call run_plan,$(TEST_PLAN))

f64 asan: deps
	@$(call run_plan,$@:all)

asan-quick: deps
	@$(call run_plan,asan:$(subst $() ,$(comma),$(strip $(ASAN_QUICK))))

lint:
	@scripts/lint

format:
	@scripts/format $$(git ls-files 'src/*.[ch]' 'include/*.h' 'tests/*.[ch]' 'bench/*.[ch]')

# The settings whose speed is quoted, then the parts by themselves.
BENCH_SETTINGS ?= "demo --frames 4 --batch 16 --classes 80" "ViT-B/32 --frames 8 --batch 4" \
                  "ViT-B/16 --frames 8 --batch 2"
bench: $(B)/crossframe $(BENCH_PROGRAMS)
	@for s in $(BENCH_SETTINGS); do $(B)/crossframe bench --arch $$s --train --inference || exit 1; done
	@for b in $(BENCH_PROGRAMS); do $$b $(BENCH_ARGS) || exit 1; done

fuzz: deps
	@$(STEP) MODE=asan fuzz-run
fuzz-run: $(FUZZ_PROGRAMS)
	@for f in $(FUZZ_PROGRAMS); do name=$${f##*/fuzz_}; \
	    $$f --seconds $(FUZZ_SECONDS) $(wildcard tests/fuzz/corpus)/$$name || exit 1; done
.PHONY: fuzz-run FORCE

# What the scripts of tests/peer hold against the programs they know.
peer-programs: $(PEER_PROGRAMS)
.PHONY: peer-programs test-peer

# Large comparisons with PyTorch, OpenCV and Python's text functions, where they are installed
# (Debian: python3-torch, python3-opencv, python3-regex).
PEER_PYTHON ?= /usr/bin/python3
PEER_SIZES ?= tiny,B/32,L/14
test-peer: all peer-programs
	@if $(PEER_PYTHON) -c 'import torch' 2>/dev/null; then \
	    $(PEER_PYTHON) tests/peer/test_peer.py $(B) --sizes $(PEER_SIZES); \
	else echo "test-peer: weights: skipped: $(PEER_PYTHON) has no torch"; fi
	@if $(PEER_PYTHON) -c 'import torch, h5py' 2>/dev/null; then \
	    OMP_NUM_THREADS=1 $(PEER_PYTHON) bench/peer/recipe.py --epochs 2 --program $(PROGRAM) \
	        --mix $(B)/tests/peer/peer_mix $(if $(filter f64,$(MODE)),--double); \
	else echo "test-peer: recipe: skipped: $(PEER_PYTHON) has no torch or no h5py"; fi
	@if $(PEER_PYTHON) -c 'import cv2' 2>/dev/null; then \
	    $(PEER_PYTHON) tests/peer/resize_peer.py $(B)/tests/peer/peer_resize; \
	else echo "test-peer: resize: skipped: $(PEER_PYTHON) has no cv2"; fi
	@if $(PEER_PYTHON) -c 'import regex' 2>/dev/null; then \
	    $(PEER_PYTHON) tests/peer/tokenizer_peer.py compare $(PROGRAM) tests/golden/tokenizer/merges.txt; \
	else echo "test-peer: tokenizer: skipped: $(PEER_PYTHON) has no regex"; fi

demo: deps
	@$(STEP) all
	@scripts/demo $(B)/crossframe

# The paper's tables in miniature, hours of training; EXPERIMENTS="head frames" makes some of them.
experiments: deps
	@$(STEP) all
	@scripts/experiments $(B)/crossframe $(EXPERIMENTS)
.PHONY: experiments

# The table of keys in docs/configuration.md, behind its heading.
docs: all
	@sed -i '/^Made by/,/^$$/!b;/^$$/q' docs/configuration.md
	@$(B)/crossframe config --keys --markdown >>docs/configuration.md
.PHONY: docs

# ---- install -----------------------------------------------------------------------------------
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/crossframe \
	    $(DESTDIR)$(PREFIX)/lib/pkgconfig
	$(Q)for f in $$(cd configs && find . -type f ! -path './demo/*'); do \
	    install -D -m 644 configs/$$f $(DESTDIR)$(PREFIX)/share/crossframe/$$f || exit 1; done
	$(if $(PROGRAM),install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/)
	install -m 644 include/crossframe/*.h $(DESTDIR)$(PREFIX)/include/crossframe/
	install -m 644 $(LIB) $(DESTDIR)$(PREFIX)/lib/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@PACKAGES@|$(PACKAGES)|' \
	    crossframe.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/crossframe.pc

clean:
	rm -rf $(BUILD)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
