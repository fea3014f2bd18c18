package fleet

// MaxCards is how many network cards a VM can have.
const MaxCards = 10

// Cards returns for each entry of a pool's networks the number of the network
// card that carries its address: the entry's own, or the next one.
func Cards(networks []PoolNetwork) []int {
	out := make([]int, len(networks))
	next := 0
	for i, n := range networks {
		out[i] = next
		if n.NIC != nil {
			out[i] = *n.NIC
		}
		next = max(next, out[i]+1)
	}
	return out
}

// CardCount is how many network cards a pool's networks ask for.
func CardCount(networks []PoolNetwork) int {
	count := 0
	for _, card := range Cards(networks) {
		count = max(count, card+1)
	}
	return count
}
