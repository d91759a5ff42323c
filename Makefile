# make run    the main job: count the words of the Go source tree with worker processes
# make test   all tests of all modules, with real second processes
GO      ?= go
MODULES := . adapters cmd/shmkit examples bench

# A loop over the modules that stops at the first failure.
each = set -e; for m in $(MODULES); do (cd $$m && $(1)); done

# need(program, Debian package): says what is missing and stops.
need = command -v $(1) >/dev/null || { echo "$@ needs $(1): install Debian's package $(2)" >&2; exit 1; }

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: run build test race fuzz stress bench bench-compare lint fmt model test-arm64 test-hpc clean

run: bin/wordcount
	./bin/wordcount -input "$$($(GO) env GOROOT)/src" -out out $(ARGS)

bin/wordcount: FORCE
	cd examples && $(GO) build -o ../bin/wordcount ./wordcount

build: bin/wordcount
	cd cmd/shmkit && $(GO) build -o ../../bin/shmkit .

test:
	@$(call each,$(GO) test ./...)

# The race detector sees Go heap memory only: the algorithms run on heap views here.
race:
	@$(call need,gcc,gcc)
	CGO_ENABLED=1 $(GO) test -race -short ./...

FUZZTIME ?= 20s
fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
	  done; \
	done

# The long versions of the kill, step and hammer tests.
stress:
	SHMKIT_STRESS=1 $(GO) test -count=1 -timeout 60m ./...

# Runs all benchmarks (about ten minutes) and writes bench/results, bench/BARS.md,
# bench/plots and the numbers of README.md.
bench:
	cd bench && $(GO) run ./report

# make bench-compare BASE=HEAD~1: is this tree slower?
bench-compare:
	cd bench && $(GO) run ./compare -base "$(BASE)"

lint: fmt
	@$(call each,$(GO) vet ./... && $(GO) run $(STATICCHECK) ./...)

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }

# The protocols as Promela models, and weakened ones that have to fail.
model:
	@$(call need,spin,spin)
	@$(call need,gcc,gcc)
	docs/model/check.sh

# The suites as arm64 programs under emulation.
test-arm64:
	@$(call need,qemu-aarch64,qemu-user)
	GOARCH=arm64 $(GO) vet ./...
	SHMKIT_TEST_EMULATOR=qemu-aarch64 GOARCH=arm64 CGO_ENABLED=0 $(GO) test -short -exec qemu-aarch64 ./ring/... ./seqlock/... ./shm/...

# A job of ours inside a real Slurm, with nodes of its own on this machine, and under
# mpirun. Needs root, for Slurm's daemons.
test-hpc:
	@$(call need,slurmctld,slurm-wlm)
	@$(call need,munged,munge)
	@$(call need,mpirun,openmpi-bin)
	cd examples && SHMKIT_TEST_SLURM=1 $(GO) test -count=1 -timeout 15m ./hpc

clean:
	rm -rf bin out

FORCE:
