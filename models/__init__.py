"""Shipped models: the files of this folder, one system a file; its name is the file's name.

A model file is an ordinary NumPyro program and a few plain values beside it. Nothing is registered anywhere:
to add a system, add a file; to see what there is, list the folder. Each file has

    model       the program; every argument has a default, `observations=None` simulates
    data        () -> keyword arguments of `model` holding real data; None where data are simulated at `truth`
    truth       parameter values by site name; None where nobody knows them (real data)
    coords      labels by dimension name (state, action, obs, dim, time); `time` only where the data are real,
                since the length of a simulation is the caller's choice

and, where it applies,

    columns     argument of `model` -> column of a CSV file that holds it
    units       site or dimension -> unit, for the axes of figures
    simulation_inputs   (num_steps) -> what a simulation is given besides its parameters, such as actions

The CSV files and their sources are in `data/`.
"""
