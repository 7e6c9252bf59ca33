"""Vision-language-action policies that were trained elsewhere: LeRobot's SmolVLA, pi0 and pi0.5, and a form
for any vision-language model.

A folder as LeRobot writes it (`checkpoint.VlaFolder`) holds what was trained; the network is ours (`models`),
in plain torch. Its backbone runs once for an observation (`Prefix`), its action expert once for each flow
step.
"""
