# `make` prints the targets. What each step of `make test` does stands in .ci/test.sh, once.

.DEFAULT_GOAL := help
STEPS := tools format vet lint staticcheck deadcode unit invariants race portable crash cross emulated fuzz blackbox kill guest kmod nightly soak
.PHONY: help demo test fmt $(STEPS)

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## show one heap in several processes, at one address
	@go run ./cmd/shmheap demo

test: ## run everything that CI runs
	@bash .ci/test.sh

fmt: ## format the Go files
	@gofmt -l -w .

tools: ## install what the tests on real programs need, where that is allowed
format: ## check that they are formatted
vet: ## go vet, with each set of build tags
lint: ## check the project's conventions
staticcheck: ## staticcheck
deadcode: ## look for functions that nobody calls
unit: ## the tests of every package
invariants: ## the tests of blocks, queues and locks in a build that looks for its own mistakes
race: ## the same under the race detector
portable: ## the tests with the code for systems other than Linux and macOS
crash: ## the tests that kill a process between any two steps
cross: ## build, vet and link the tests for every supported system
emulated: ## the tests of addresses, memory, blocks, queues and locks as arm64 and riscv64 programs, emulated
fuzz: ## run every fuzz target for FUZZTIME, 10s unless set
blackbox: ## the tests of the command and of many processes
kill: ## kill processes at every instruction of every operation, and at random
guest: ## the tests that need another processor or kernel, or a second machine, in QEMU
kmod: ## the kernel module and its samples, in QEMU: Debian's kernels, and two that watch themselves and are built once
nightly: ## the same as kill with everything that takes too long for each change: hours
soak: ## 64 processes fill and empty a heap for SHMHEAP_SOAK seconds, 600 unless set

$(STEPS):
	@bash .ci/test.sh $@
