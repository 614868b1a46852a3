# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo-out

# Where this is set, each of the hundreds of processes that tests start would compile all it imports anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check unit coverage mutants faults network-faults guides bench wheelhouse images compose-demo bundle clean

demo: .venv/simulation  ## the debt market, then the shipped credit data, and where their reports are
	$(BIN)/fedrepay simulate --out $(OUT)/market
	$(BIN)/fedrepay simulate --data uci --out $(OUT)/credit
	@echo "Open $(OUT)/market/report.html and $(OUT)/credit/report.html in a browser."

test: check unit  ## everything CI runs

check: .venv/ready  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit coverage guides network-faults: export OMP_NUM_THREADS := 1  # threads that wait for work burn a quarter of two cores

unit: .venv/ready  ## all tests
	$(BIN)/python -m pytest -n 3 --dist worksteal -q

coverage: .venv/ready  ## all tests, a third slower, and how many lines they reach in their own processes; which not: .coverage.txt
	$(BIN)/slipcover -m pytest -n 3 --dist worksteal -q
	@awk 'END { print "Coverage: tests reach " $$2 - $$3 " of " $$2 " lines, " $$4 " %. The others: .coverage.txt" }' .coverage.txt

mutants: .venv/ready  ## does a test fail for every mutant of what guards, pays, masks, proves and judges? ONLY=names takes some targets
	$(BIN)/python -m tests.mutation $(if $(ONLY),--only $(ONLY))

faults: .venv/ready  ## worlds with 50,000 faults; SEED=N plays one again, LIMIT=n its first n faults alone
	cd tests && PYTHONPATH=. OMP_NUM_THREADS=1 ../$(BIN)/python -m faults.run $(if $(SEED),--seed $(SEED)) $(if $(LIMIT),--limit $(LIMIT))

network-faults: .venv/ready  ## 60 kills of real processes, 16 broken lines, 6 rosters that change under a kill, an hour or more; SEED=N another order, KILLS=n, BREAKS=n, CHANGES=n as many
	PYTHONPATH=tests $(BIN)/python -m faults.network $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) $(if $(BREAKS),--breaks $(BREAKS)) $(if $(CHANGES),--changes $(CHANGES))

guides: .venv/ready  ## types every command of the operator's and the members' guides on a network of theirs, minutes
	$(BIN)/python -m pytest -q -rP tests/e2e/network_guides.py

PEERS := $(if $(filter accuracy decisions simulation secure_sum,$(or $(NAME),accuracy)),.venv-peers/ready) $(if $(filter secure_sum,$(or $(NAME),secure_sum)),.venv-spu/ready)

bench: .venv/ready $(PEERS)  ## all benchmarks, written to docs/benchmarks.md; NAME=… for one; tells its minutes first
	$(BIN)/python -m fedrepay.simulations.bench $(NAME)

wheelhouse: .venv/ready  ## what docker/locks/ names, by hash, and our own wheel of the last commit; the one step that asks a registry
	$(BIN)/python docker/images.py wheelhouse

images:  ## images of coordinator and member from the wheelhouse without network, SBOMs in dist/; BASE=image
	$(BIN)/python docker/images.py build $(if $(BASE),--base $(BASE))

compose-demo:  ## a consortium of containers enrols, trains, is killed and scanned; needs images (docker/README.md)
	cd tests && PYTHONPATH=.:../docker ../$(BIN)/python -m containers.demo

bundle:  ## images, wheels, SBOMs and docker/ in one file, hashed and signed; KEY=OpenSSH private key
	$(BIN)/python docker/images.py bundle --key $(KEY)

.venv/simulation: pyproject.toml constraints.txt  # not compiled: Python does that to what it loads, a sixth of the files
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[simulation]'
	@touch $@

.venv/ready: .venv/simulation  # the same, torch, and what checks and tests
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv-peers/ready: pyproject.toml constraints-peers.txt  # peers need older absl and dp-accounting than we do
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --constraint constraints-peers.txt --editable '.[peers]'
	@touch $@

.venv-spu/ready: constraints-spu.txt  # SPU needs an older NumPy than we do: it runs beside our sources, not beside us installed
	$(PYTHON) -m venv .venv-spu
	.venv-spu/bin/python -m pip install --quiet --constraint constraints-spu.txt spu
	@touch $@

clean:  ## remove the environment and what tools left behind
	rm -rf .venv .venv-peers .venv-spu build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
