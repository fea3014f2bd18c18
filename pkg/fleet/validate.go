package fleet

// Validate returns every problem of the fleet by itself.
func (f *Fleet) Validate() []Problem { return nil }

// Validate returns every problem of the network by itself.
func (n *Network) Validate() []Problem { return nil }

// Validate returns every problem of the site by itself.
func (s *Site) Validate() []Problem { return nil }
