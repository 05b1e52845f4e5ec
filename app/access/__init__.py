"""Who may do what: who is signed in, who maintains, which key programs show, how often anybody may ask."""
