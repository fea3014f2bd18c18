// Package e2e drives the real binaries. The suites stand behind the build
// tag e2e, because they need minutes, a real nats-server process and, for
// power cuts and partitions, root; `make e2e` runs them one after the other,
// `make e2e-long` the long ones too.
//
//	harness    processes, disks that lose power, networks that part, vCenter
//	machines   a machine is a file: the world of the fake workers
//	fakeyard   planners and fake workers: the ledger alone
//	realyard   every service, against the simulated vCenter
//	replay     tells a ledger's history again, without the planner's code
//	ledger     kills, freezes, power cuts, partitions of a fakeyard
//	system     kills, faults, take-over of a realyard with one vCenter or two,
//	           and yardmaster up
//	bench      ratios against peers (build tag bench, `make bench`)
//
// A test that fails keeps its folder with every process's log. These
// variables steer the suites:
//
//	YARD_E2E_SKIP    parts that this machine cannot run: powercut,partition
//	YARD_E2E_SEED    repeats the order of a storm's faults
//	YARD_E2E_FAULTS  how many faults a storm has
//	YARD_E2E_ROUNDS  how many rounds of fifty nodes
//	YARD_E2E_LONG    runs the suite on three servers, and hundreds of nodes
//	YARD_E2E_VCENTER_...  another vCenter than a simulator (docs/qualify.md)
//	YARD_E2E_DIR     where the folders are made
//	YARD_BENCH_ROUNDS  rounds of the bench that count
package e2e
