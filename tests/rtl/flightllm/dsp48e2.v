// Behaviour of the DSP48E2 (AMD, UG579) as far as its parameters below reach: multiplier,
// pre-adder, ALU as adder, all registers. Written from the guide, not from the units, so that the
// ports and parameters that a unit gives the cell are checked against the cell's own rules.
// Every unsupported setting gives unknown bits.
module DSP48E2 #(
    parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1,
    parameter CARRYINREG = 1, CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1,
    parameter OPMODEREG = 1, PREG = 1,
    parameter AMULTSEL = "A", BMULTSEL = "B", A_INPUT = "DIRECT", B_INPUT = "DIRECT",
    parameter PREADDINSEL = "A", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48"
) (
    input CLK,
    input signed [29:0] A, ACIN, input signed [17:0] B, BCIN, input signed [47:0] C, PCIN,
    input signed [26:0] D, input [3:0] ALUMODE, input [4:0] INMODE, input [8:0] OPMODE,
    input [2:0] CARRYINSEL, input CARRYCASCIN, CARRYIN, MULTSIGNIN,
    input CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    output signed [47:0] P, PCOUT
);
    reg signed [29:0] a1, a2; reg signed [17:0] b1, b2; reg signed [26:0] d, ad;
    reg signed [44:0] m; reg signed [47:0] c, p; reg [3:0] alumode; reg [4:0] inmode; reg [8:0] opmode;
    initial begin
        a1 = 0; a2 = 0; b1 = 0; b2 = 0; d = 0; ad = 0; m = 0; c = 0; p = 0;
        alumode = 0; inmode = 0; opmode = 0;
    end
    wire [3:0] alu = ALUMODEREG == 1 ? alumode : ALUMODE;
    wire [4:0] in = INMODEREG == 1 ? inmode : INMODE;
    wire [8:0] op = OPMODEREG == 1 ? opmode : OPMODE;
    // Figures "A, B" and "dual A, D and pre-adder": with one register it is the second one.
    wire signed [29:0] a_last = AREG == 0 ? A : a2;
    wire signed [17:0] b_last = BREG == 0 ? B : b2;
    wire signed [29:0] a_chosen = in[0] ? a1 : a_last;
    wire signed [17:0] b_chosen = in[4] ? b1 : b_last;
    // INMODE[1] puts zero where PREADDINSEL names the operand, INMODE[2] lets D through.
    wire signed [26:0] a_added = in[1] ? 27'sd0 : a_chosen[26:0];
    wire signed [26:0] d_added = in[2] ? (DREG == 1 ? d : D) : 27'sd0;
    wire signed [26:0] ad_now = in[3] ? d_added - a_added : d_added + a_added;
    wire signed [26:0] factor = AMULTSEL == "AD" ? (ADREG == 1 ? ad : ad_now) : a_added;
    wire signed [44:0] product = factor * b_chosen;
    wire signed [44:0] m_used = MREG == 1 ? m : product;
    wire is_known = BMULTSEL == "B" && A_INPUT == "DIRECT" && B_INPUT == "DIRECT"
        && PREADDINSEL == "A" && USE_MULT == "MULTIPLY" && USE_SIMD == "ONE48" && alu == 0
        && CARRYINSEL == 0 && !CARRYIN && op[8:7] == 0 && op[3:0] == 4'b0101
        && ACASCREG == AREG && BCASCREG >= 1 && BREG >= 1;
    reg signed [47:0] z;
    always @* case (op[6:4])
        3'b000: z = 48'sd0;
        3'b001: z = PCIN;
        3'b010: z = p;
        3'b011: z = CREG == 1 ? c : C;
        default: z = {48{1'bx}};
    endcase
    wire signed [47:0] sum = is_known ? z + {{3{m_used[44]}}, m_used} : {48{1'bx}};
    always @(posedge CLK) begin
        if (RSTA) begin a1 <= 0; a2 <= 0; end
        else begin
            if (CEA1) a1 <= A;
            if (CEA2) a2 <= AREG == 2 ? a1 : A;
        end
        if (RSTB) begin b1 <= 0; b2 <= 0; end
        else begin
            if (CEB1) b1 <= B;
            if (CEB2) b2 <= BREG == 2 ? b1 : B;
        end
        if (RSTD) begin d <= 0; ad <= 0; end
        else begin
            if (CED) d <= D;
            if (CEAD) ad <= ad_now;
        end
        if (RSTC) c <= 0; else if (CEC) c <= C;
        if (RSTM) m <= 0; else if (CEM) m <= product;
        if (RSTP) p <= 0; else if (CEP) p <= sum;
        if (RSTALUMODE) alumode <= 0; else if (CEALUMODE) alumode <= ALUMODE;
        if (RSTINMODE) inmode <= 0; else if (CEINMODE) inmode <= INMODE;
        if (RSTCTRL) opmode <= 0; else if (CECTRL) opmode <= OPMODE;
    end
    assign P = PREG == 1 ? p : sum;
    assign PCOUT = P;
endmodule
