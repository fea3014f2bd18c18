// Package vcenter makes, finds and removes the yard's VMs in one vCenter.
//
// Three things together make it exactly one VM per node, whoever crashes
// when: the VM's name in a folder is the guard (vCenter refuses a second
// one), the instance UUID is how a VM is found again (vCenter may hold two of
// one UUID, so it guards nothing), and the owner key in the extra config is
// the proof that a VM is ours. So every operation begins with a look, and an
// operation whose outcome is unknown is begun again from the look.
//
// The package owns nothing in the ledger. It never touches a VM without the
// proof, and never logs a guestinfo value.
package vcenter
